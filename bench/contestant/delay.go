package main

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	// delayThreads is how many connections can sleep at once: each direction of a
	// connection sleeps in a thread of its own, which is finer than Go's timers.
	delayThreads = 512
	// chunkSize is the most that is read at once.
	chunkSize = 64 << 10
	// chunksInFlight bounds what a direction holds. At 1 ms it stands for 4 GiB/s:
	// no limit for what is measured here.
	chunksInFlight = 64
)

// chunk is bytes that are to be passed on at a time.
type chunk struct {
	data []byte
	due  time.Time
}

// delay passes connections on to another address and holds the bytes of each
// direction back for the given time, however many there are.
func delay(ctx context.Context, addr, to string, each time.Duration) error {
	runtime.GOMAXPROCS(delayThreads)
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() }) // ends Accept
	defer stop()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go pass(ctx, conn, to, each)
	}
}

// pass joins one connection with one to the other side until either ends.
func pass(ctx context.Context, near net.Conn, to string, each time.Duration) {
	far, err := new(net.Dialer).DialContext(ctx, "tcp", to)
	if err != nil {
		_ = near.Close() // the other end sees that
		return
	}
	var wg sync.WaitGroup
	for _, ends := range [][2]net.Conn{{near, far}, {far, near}} {
		wg.Go(func() {
			_ = hold(ends[0], ends[1], each) // a connection that ends is no news
			_, _ = near.Close(), far.Close()
		})
	}
	wg.Wait()
}

// hold copies until from ends, each chunk as late as it should be.
func hold(from io.Reader, to io.Writer, each time.Duration) error {
	chunks := make(chan chunk, chunksInFlight)
	written := make(chan error, 1)
	go func() {
		var failed error
		for c := range chunks {
			if failed != nil {
				continue // until the reader notices
			}
			sleepUntil(c.due)
			_, failed = to.Write(c.data)
		}
		written <- failed
	}()
	buffer := make([]byte, chunkSize)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			chunks <- chunk{append([]byte(nil), buffer[:n]...), time.Now().Add(each)}
		}
		if err != nil {
			close(chunks)
			return errors.Join(err, <-written)
		}
	}
}

// sleepUntil sleeps in the kernel, whose timers are exact to some 60 µs; Go's wake up
// up to a millisecond late on a process that is otherwise idle.
func sleepUntil(due time.Time) {
	wait := time.Until(due)
	if wait <= 0 {
		return
	}
	ts := syscall.NsecToTimespec(wait.Nanoseconds())
	_ = syscall.Nanosleep(&ts, nil) // an interrupted sleep is a short one
}
