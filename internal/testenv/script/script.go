// Package script runs the programs' script tests, testdata/script/*.txtar, in the
// language of testscript, and gives tests a terminal. It is for tests only.
//
// Besides testscript's own commands, scripts may use:
//
//	exits <code> <program> [arg]...   run a program and compare its exit code
//	until <regexp> <program> [arg]... repeat a program until it succeeds and its
//	                                  stdout matches
//	waitfile <file>                   wait until a file exists
//	address <var> <for> <log>         wait until a log says where the program listens,
//	                                  and set the variable to that host:port
//	field <var> <name> <file>         set the variable to a field of a JSON object
//	http <method> <url> [file]        send a request, with $AUTHORIZATION, $ORIGIN and, as
//	                                  X-Kling-Signature, $SIGNATURE if set; stdout is
//	                                  the status and the answer
//	taken <var>                       listen on an address
//	redis <var> [password]            start a Redis in memory; the URL has no password
package script

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
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

// waitTimeout limits each wait of a script.
const waitTimeout = time.Minute

// Command is a command of scripts, called with its arguments.
type Command func(ts *testscript.TestScript, args []string)

// Run runs the scripts in testdata/script, with more commands, and with these values for
// [testscript.TestScript.Value]. The only settings are the addresses, with free ports.
func Run(t *testing.T, more map[string]Command, values func() map[any]any) {
	t.Helper()
	commands := map[string]Command{
		"exits": exits, "until": until, "waitfile": waitFile, "address": address,
		"field": field, "http": request, "taken": taken, "redis": startRedis,
	}
	maps.Copy(commands, more)
	cmds := map[string]func(*testscript.TestScript, bool, []string){}
	for name, command := range commands {
		cmds[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			if neg {
				ts.Fatalf("%s cannot be negated", name)
			}
			command(ts, args)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true, Cmds: cmds,
		Setup: func(env *testscript.Env) error {
			env.Setenv("KLINGHOOK_ADDR", "127.0.0.1:0")
			env.Setenv("KLINGHOOK_ADMIN_ADDR", "127.0.0.1:0")
			if values != nil {
				maps.Copy(env.Values, values())
			}
			return nil
		},
	})
}

// Wait polls until done returns true. A failure shows the description.
func Wait(ts *testscript.TestScript, description string, done func() bool) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(waitTimeout); !done(); <-tick.C {
		if time.Now().After(deadline) {
			ts.Fatalf("waited %s for %s", waitTimeout, description)
		}
	}
}

func exits(ts *testscript.TestScript, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func until(ts *testscript.TestScript, args []string) {
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	Wait(ts, fmt.Sprintf("%s to print %s", strings.Join(args[1:], " "), args[0]), func() bool {
		return ts.Exec(args[1], args[2:]...) == nil && pattern.MatchString(ts.ReadFile("stdout"))
	})
}

func waitFile(ts *testscript.TestScript, args []string) {
	Wait(ts, args[0], func() bool {
		_, err := os.Stat(ts.MkAbs(args[0]))
		return err == nil
	})
}

func address(ts *testscript.TestScript, args []string) {
	Wait(ts, "an address for "+args[1]+" in "+args[2], func() bool {
		log, err := os.ReadFile(ts.MkAbs(args[2]))
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(log)) {
			var entry struct{ Message, For, Address string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "listening" && entry.For == args[1] {
				ts.Setenv(args[0], entry.Address)
				return true
			}
		}
		return false
	})
}

func field(ts *testscript.TestScript, args []string) {
	var object map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[2])), &object))
	value, ok := object[args[1]].(string)
	if !ok {
		ts.Fatalf("%s has no text %q", args[2], args[1])
	}
	ts.Setenv(args[0], value)
}

func request(ts *testscript.TestScript, args []string) {
	body := ""
	if len(args) == 3 {
		body = ts.ReadFile(args[2])
	}
	req, err := http.NewRequestWithContext(context.Background(), args[0], args[1], strings.NewReader(body))
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	for variable, header := range map[string]string{"AUTHORIZATION": "Authorization", "ORIGIN": "Origin", "SIGNATURE": "X-Kling-Signature"} {
		if value := ts.Getenv(variable); value != "" {
			req.Header.Set(header, value)
		}
	}
	res, err := http.DefaultClient.Do(req)
	ts.Check(err)
	answer, err := io.ReadAll(res.Body)
	ts.Check(errors.Join(err, res.Body.Close()))
	fmt.Fprintf(ts.Stdout(), "%s\n%s\n", res.Status, answer)
}

func taken(ts *testscript.TestScript, args []string) {
	var lc net.ListenConfig
	listener, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = listener.Close() })
	ts.Setenv(args[0], listener.Addr().String())
}

func startRedis(ts *testscript.TestScript, args []string) {
	redis := miniredis.NewMiniRedis()
	if len(args) == 2 {
		redis.RequireAuth(args[1])
	}
	ts.Check(redis.Start())
	ts.Defer(redis.Close)
	ts.Setenv(args[0], "redis://"+redis.Addr())
}
