package main

import (
	"bytes"
	"net"
	"runtime"
	"syscall"
	"time"
)

const (
	// delayThreads is how many directions can sleep at once, each in its own thread.
	delayThreads = 512
	// chunkSize and chunksInFlight allow 4 GiB/s at 1 ms: no limit for the traffic measured.
	chunkSize      = 64 << 10
	chunksInFlight = 64
)

// delay forwards connections and delays the bytes of each direction, however many they are.
func delay(addr, to string, each time.Duration) error {
	runtime.GOMAXPROCS(delayThreads)
	listener, err := net.Listen("tcp", addr) //nolint:noctx // until the process ends
	if err != nil {
		return err
	}
	for {
		near, err := listener.Accept()
		if err != nil {
			return err
		}
		far, err := net.Dial("tcp", to) //nolint:noctx // likewise
		if err != nil {
			return err
		}
		go copyLate(near, far, each)
		go copyLate(far, near, each)
	}
}

// copyLate copies until either end closes, each chunk delayed by the same time.
func copyLate(from, to net.Conn, each time.Duration) {
	type chunk struct {
		data []byte
		due  time.Time
	}
	chunks := make(chan chunk, chunksInFlight)
	go func() {
		defer close(chunks)
		buffer := make([]byte, chunkSize)
		for {
			n, err := from.Read(buffer)
			if n > 0 {
				chunks <- chunk{bytes.Clone(buffer[:n]), time.Now().Add(each)}
			}
			if err != nil {
				return
			}
		}
	}()
	for c := range chunks {
		sleepUntil(c.due)
		if _, err := to.Write(c.data); err != nil {
			break
		}
	}
	_, _ = from.Close(), to.Close()
	for range chunks { // until the reader has noticed
	}
}

// sleepUntil sleeps in the kernel, which is exact to 60 µs. Go's timers can be a
// millisecond late in an idle process.
func sleepUntil(due time.Time) {
	if wait := time.Until(due); wait > 0 {
		ts := syscall.NsecToTimespec(wait.Nanoseconds())
		_ = syscall.Nanosleep(&ts, nil) // an interrupted sleep is only shorter
	}
}
