package clitest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// server keeps what a script's servers were asked.
type server struct {
	mu       sync.Mutex // guards requests
	requests []request
}

type request struct {
	line, authorization, id, body string
}

// serverKey is where a script's environment has its server.
type serverKey struct{}

func serverOf(ts *testscript.TestScript) *server {
	s, ok := ts.Value(serverKey{}).(*server)
	if !ok {
		ts.Fatalf("this script has no server")
	}
	return s
}

// start serves one answer to all requests and returns the server's URL.
func (s *server) start(ts *testscript.TestScript, status, answer string) string {
	code, err := strconv.Atoi(status)
	ts.Check(err)
	test := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // a sender that was stopped
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests = append(s.requests, request{
			line: r.Method + " " + r.URL.Path, authorization: r.Header.Get("Authorization"),
			id: r.Header.Get("Webhook-Id"), body: string(body),
		})
		w.WriteHeader(code)
		_, _ = io.WriteString(w, answer)
	}))
	ts.Defer(test.Close)
	return test.URL
}

// all returns what was asked so far.
func (s *server) all() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

func startKling(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, 2)
	ts.Setenv("KLINGAI_API_URL", serverOf(ts).start(ts, args[0], ts.ReadFile(args[1])))
}

func asked(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 0, 0)
	requests := serverOf(ts).all()
	if len(requests) == 0 {
		ts.Fatalf("nothing was asked")
	}
	last := requests[len(requests)-1]
	fmt.Fprintf(ts.Stdout(), "%s\n%s\n%s\n", last.line, last.authorization, last.body)
}

func startReceiver(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, 1)
	ts.Setenv("RECEIVER", serverOf(ts).start(ts, args[0], `{"received": true}`))
}

func arrived(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, 1)
	least, err := strconv.Atoi(args[0])
	ts.Check(err)
	s := serverOf(ts)
	wait(ts, args[0]+" deliveries", func() bool { return len(s.all()) >= least })
}

// received forgets what it has counted, so that the next count begins at zero.
func received(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, 2)
	total, err := strconv.Atoi(args[0])
	ts.Check(err)
	distinct, err := strconv.Atoi(args[1])
	ts.Check(err)
	s := serverOf(ts)
	wait(ts, args[0]+" deliveries", func() bool { return len(s.all()) >= total })
	s.mu.Lock()
	defer s.mu.Unlock()
	different := map[string]bool{}
	for _, r := range s.requests {
		different[r.id+r.body] = true
		fmt.Fprintln(ts.Stdout(), r.line, r.body)
	}
	if len(s.requests) != total || len(different) != distinct {
		ts.Fatalf("%d deliveries, %d of them different; want %d and %d", len(s.requests), len(different), total, distinct)
	}
	s.requests = nil
}
