package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/klinghook/klinghook/internal/testenv/script"
)

// TestMain makes the test binary the program that the scripts run.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"klinghook": main})
}

// TestScripts runs the scripts. They have these commands besides those of package script:
//
//	kling <status> <answer-file>   start a Kling API and set KLINGAI_API_URL
//	receiver <status>              start a receiver of deliveries and set RECEIVER
//	asked                          print the last request, with its Authorization
//	arrived <count>                wait for at least this many requests
//	received <total> <distinct>    wait for exactly this many requests since the last
//	                               time, and print their paths and bodies
func TestScripts(t *testing.T) {
	script.Run(t, map[string]script.Command{
		"kling":    startKling,
		"receiver": startReceiver,
		"asked":    asked,
		"arrived":  arrived,
		"received": received,
	}, func() map[any]any { return map[any]any{requestsKey{}: &requests{}} })
}

// requestsKey is the key of a script's *requests.
type requestsKey struct{}

// requests records the requests to a script's servers.
type requests struct {
	mu   sync.Mutex // guards list
	list []recordedRequest
}

type recordedRequest struct{ line, authorization, id, body string }

func requestsOf(ts *testscript.TestScript) *requests {
	r, ok := ts.Value(requestsKey{}).(*requests)
	if !ok {
		ts.Fatalf("no recorder of requests")
	}
	return r
}

// serve starts a server with one answer to all requests, and returns its URL.
func (r *requests) serve(ts *testscript.TestScript, status, answer string) string {
	code := number(ts, status)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // The sender was stopped.
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.list = append(r.list, recordedRequest{
			line: req.Method + " " + req.URL.Path, authorization: req.Header.Get("Authorization"),
			id: req.Header.Get("Webhook-Id"), body: string(body),
		})
		w.WriteHeader(code)
		_, _ = io.WriteString(w, answer)
	}))
	ts.Defer(server.Close)
	return server.URL
}

func (r *requests) all() []recordedRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

// await waits for at least this many requests.
func (r *requests) await(ts *testscript.TestScript, count string) {
	script.Wait(ts, count+" requests", func() bool { return len(r.all()) >= number(ts, count) })
}

func number(ts *testscript.TestScript, text string) int {
	n, err := strconv.Atoi(text)
	ts.Check(err)
	return n
}

func startKling(ts *testscript.TestScript, args []string) {
	ts.Setenv("KLINGAI_API_URL", requestsOf(ts).serve(ts, args[0], ts.ReadFile(args[1])))
}

func startReceiver(ts *testscript.TestScript, args []string) {
	ts.Setenv("RECEIVER", requestsOf(ts).serve(ts, args[0], `{"received": true}`))
}

func asked(ts *testscript.TestScript, _ []string) {
	list := requestsOf(ts).all()
	if len(list) == 0 {
		ts.Fatalf("no requests")
	}
	last := list[len(list)-1]
	fmt.Fprintf(ts.Stdout(), "%s\n%s\n%s\n", last.line, last.authorization, last.body)
}

func arrived(ts *testscript.TestScript, args []string) { requestsOf(ts).await(ts, args[0]) }

func received(ts *testscript.TestScript, args []string) {
	r := requestsOf(ts)
	r.await(ts, args[0])
	r.mu.Lock()
	defer r.mu.Unlock()
	different := map[string]bool{}
	for _, req := range r.list {
		different[req.id+req.body] = true
		fmt.Fprintln(ts.Stdout(), req.line, req.body)
	}
	if len(r.list) != number(ts, args[0]) || len(different) != number(ts, args[1]) {
		ts.Fatalf("%d requests, %d of them different; want %s and %s", len(r.list), len(different), args[0], args[1])
	}
	r.list = nil
}
