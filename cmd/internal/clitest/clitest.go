package clitest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a script waits for anything before it fails.
const patience = time.Minute

// Run runs the scripts in testdata/script. The environment of each has no setting
// but the addresses, which take free ports.
func Run(t *testing.T) {
	t.Helper()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("KLINGHOOK_ADDR", "127.0.0.1:0")
			env.Setenv("KLINGHOOK_ADMIN_ADDR", "127.0.0.1:0")
			env.Values[serverKey{}] = &server{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"until":    until,
			"waitfile": waitFile,
			"address":  address,
			"field":    field,
			"http":     ask,
			"taken":    taken,
			"redis":    startRedis,
			"kling":    startKling,
			"asked":    asked,
			"receiver": startReceiver,
			"arrived":  arrived,
			"received": received,
		},
	})
}

// need ends a script whose command has another number of arguments.
func need(ts *testscript.TestScript, neg bool, args []string, least, most int) {
	if neg {
		ts.Fatalf("this command cannot be negated")
	}
	if len(args) < least || len(args) > most {
		ts.Fatalf("this command has %d arguments; see the package comment of clitest", len(args))
	}
}

// wait asks until the answer is yes.
func wait(ts *testscript.TestScript, what string, done func() bool) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(deadline) {
			ts.Fatalf("waited in vain for %s", what)
		}
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, 1000)
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("run %s: %v", args[1], err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, 1000)
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	wait(ts, fmt.Sprintf("%s to print %s", strings.Join(args[1:], " "), args[0]), func() bool {
		return ts.Exec(args[1], args[2:]...) == nil && pattern.MatchString(ts.ReadFile("stdout"))
	})
}

func waitFile(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, 1)
	wait(ts, args[0], func() bool {
		_, err := os.Stat(ts.MkAbs(args[0]))
		return err == nil
	})
}

func address(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 3, 3)
	wait(ts, "an address for "+args[1]+" in "+args[2], func() bool {
		content, err := os.ReadFile(ts.MkAbs(args[2]))
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(content)) {
			var entry struct{ Message, For, Address string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "listening" && entry.For == args[1] {
				ts.Setenv(args[0], entry.Address)
				return true
			}
		}
		return false
	})
}

func field(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 3, 3)
	var object map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[2])), &object))
	value, ok := object[args[1]].(string)
	if !ok {
		ts.Fatalf("%s has no text in %q", args[2], args[1])
	}
	ts.Setenv(args[0], value)
}

func ask(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, 3)
	body := ""
	if len(args) == 3 {
		body = ts.ReadFile(args[2])
	}
	req, err := http.NewRequestWithContext(context.Background(), args[0], args[1], strings.NewReader(body))
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	if authorization := ts.Getenv("AUTHORIZATION"); authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	if signature := ts.Getenv("SIGNATURE"); signature != "" {
		req.Header.Set("X-Kling-Signature", signature)
	}
	res, err := http.DefaultClient.Do(req)
	ts.Check(err)
	answer, err := io.ReadAll(res.Body)
	ts.Check(errors.Join(err, res.Body.Close()))
	fmt.Fprintf(ts.Stdout(), "%s\n%s\n", res.Status, answer)
}

func taken(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, 1)
	var lc net.ListenConfig
	listener, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = listener.Close() })
	ts.Setenv(args[0], listener.Addr().String())
}

func startRedis(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, 2)
	redis := miniredis.NewMiniRedis()
	if len(args) == 2 {
		redis.RequireAuth(args[1])
	}
	ts.Check(redis.Start())
	ts.Defer(redis.Close)
	ts.Setenv(args[0], "redis://"+redis.Addr())
}
