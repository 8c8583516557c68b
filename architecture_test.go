// Package klinghook_test holds the architecture: which room of the code may know
// which other, and what the public program is made of. docs/ARCHITECTURE.md says
// why.
package klinghook_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/klinghook/klinghook"
	ingest = "./cmd/klinghook-ingest"
	// ingestMaxSize is the most that the stripped program may weigh, in bytes.
	ingestMaxSize = 20 << 20
)

// A room is a folder of packages with one subject.
type room struct {
	name string
	// imports are the rooms that it may import; of itself it may import all.
	imports []string
}

func rooms() []room {
	return []room{
		{"internal/join", nil},
		{"tasks", nil},

		{"internal/source", []string{"tasks"}},
		{"internal/kling", []string{"internal/source", "tasks"}},
		{"internal/store", []string{"tasks", "internal/join"}},

		{"ingest", []string{"internal/source", "internal/join", "tasks"}},
		{"worker", []string{"internal/source", "internal/kling", "internal/store", "internal/join", "tasks"}},
		{"internal/admin", []string{"internal/source", "internal/kling", "internal/store", "tasks"}},

		// The fake Kling knows nothing of ours: what both got wrong would not be seen.
		{"internal/simulate", nil},

		// Only cmd imports config: a package takes what it needs as parameters.
		{"config", nil},
		{"internal/process", nil},
		{"internal/testenv", nil},
		{"internal/programs", []string{"internal/testenv"}},
		{"deploy", nil},         // Tests only.
		{"internal/e2e", nil},   // Tests only.
		{"internal/chaos", nil}, // Tests only.
		{"cmd", []string{"ingest", "worker", "internal/admin", "internal/source", "internal/kling", "internal/store", "internal/join", "tasks", "internal/simulate", "config", "internal/process"}},
	}
}

// Each of these libraries is used in some rooms only. Tests may use all.
func owners() map[string][]string {
	sql := []string{"internal/store", "internal/testenv"}
	return map[string][]string{
		"github.com/labstack":                {"ingest", "internal/admin"},
		"database/sql":                       sql,
		"github.com/jackc/pgx":               sql,
		"modernc.org/sqlite":                 sql,
		"github.com/pressly/goose":           sql,
		"github.com/hibiken":                 {"tasks", "worker", "internal/admin", "cmd"},
		"gocloud.dev":                        {"worker/media"},
		"github.com/sony/gobreaker":          {"ingest/spool"},
		"github.com/nicholas-fedor/shoutrrr": {"worker/notify"},
		"github.com/golang-jwt":              {"internal/kling", "internal/simulate"},
		"go.opentelemetry.io/otel/sdk":       {"internal/process"},
		"github.com/vbauerster":              {"cmd/internal/terminal"},
	}
}

// notInIngest lists what must not be linked into the public program, and why.
// gRPC is linked because the OTLP exporter's protobuf types import it, although
// traces are sent over HTTP. The grpcnotrace tag keeps that at one MiB.
func notInIngest() map[string]string {
	return map[string]string{
		module + "/worker":                   "worker code",
		module + "/internal/store":           "the store",
		module + "/internal/kling":           "Kling's API client",
		"github.com/jackc/pgx":               "a SQL driver",
		"modernc.org":                        "a SQL driver",
		"github.com/pressly/goose":           "SQL migrations",
		"gocloud.dev":                        "buckets",
		"github.com/aws":                     "a cloud SDK",
		"github.com/Azure":                   "a cloud SDK",
		"github.com/AzureAD":                 "a cloud SDK",
		"cloud.google.com":                   "a cloud SDK",
		"google.golang.org/api":              "a cloud SDK",
		"github.com/hibiken/asynqmon":        "the queue pages",
		"github.com/nicholas-fedor/shoutrrr": "notifiers",
		"github.com/alicebob/miniredis":      "the embedded queue",
		"github.com/vbauerster":              "progress bars",
	}
}

// pkg is what go list tells of a package.
type pkg struct {
	ImportPath string
	Imports    []string
}

func TestRoomsImportOnlyDownwards(t *testing.T) {
	for _, p := range list(t, "./...") {
		if p.ImportPath == module {
			continue // These tests.
		}
		from, ok := roomOf(p.ImportPath)
		if !ok {
			t.Errorf("%s stands in no room: give it one in rooms, with what it may import", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			if !within(imported, module) {
				continue
			}
			to, ok := roomOf(imported)
			if ok && to.name != from.name && !slices.Contains(from.imports, to.name) {
				t.Errorf("%s imports %s: %s may import only %q", p.ImportPath, imported, from.name, from.imports)
			}
		}
	}
}

func TestLibrariesStayInTheirRooms(t *testing.T) {
	for _, p := range list(t, "./...") {
		for _, imported := range p.Imports {
			for library, rooms := range owners() {
				if within(imported, library) && !slices.ContainsFunc(rooms, func(r string) bool {
					return within(p.ImportPath, path.Join(module, r))
				}) {
					t.Errorf("%s imports %s, which only %q may", p.ImportPath, imported, rooms)
				}
			}
		}
	}
}

func TestIngestLinksOnlyWhatItNeeds(t *testing.T) {
	linked := list(t, "-deps", ingest)
	if !slices.ContainsFunc(linked, func(p pkg) bool { return p.ImportPath == module+"/ingest" }) {
		t.Errorf("%s does not link %s/ingest: is this still the public program?", ingest, module)
	}
	for _, p := range linked {
		for unwanted, what := range notInIngest() {
			if !within(p.ImportPath, unwanted) {
				continue
			}
			if importers := importersOf(p, linked, unwanted); len(importers) > 0 {
				t.Errorf("%s links %s, which is %s; imported by %q", ingest, p.ImportPath, what, importers)
			}
		}
	}
}

func TestIngestIsSmall(t *testing.T) {
	program := filepath.Join(t.TempDir(), "klinghook-ingest")
	run(t, "build", "-trimpath", "-tags", "grpcnotrace", "-ldflags", "-s -w", "-o", program, ingest)
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > ingestMaxSize {
		t.Errorf("%s has %d bytes stripped, which is more than %d", ingest, info.Size(), ingestMaxSize)
	}
	t.Logf("%s has %.1f MiB stripped", ingest, float64(info.Size())/(1<<20))
}

// list returns the packages that go list prints, without their tests.
func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	out := json.NewDecoder(strings.NewReader(run(t, append([]string{"list", "-json=ImportPath,Imports"}, args...)...)))
	var pkgs []pkg
	for {
		var p pkg
		err := out.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) == 0 {
		t.Fatalf("go list %q knows no packages", args)
	}
	return pkgs
}

// run returns what the go command prints, or fails the test with its complaint.
func run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	// The programs are released without cgo.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, complaint.String())
	}
	return string(out)
}

// within reports whether the package is the one at root or below it.
func within(importPath, root string) bool {
	return importPath == root || strings.HasPrefix(importPath, root+"/")
}

// roomOf returns the room that a package of ours stands in.
func roomOf(importPath string) (room, bool) {
	for _, r := range rooms() {
		if within(importPath, path.Join(module, r.name)) {
			return r, true
		}
	}
	return room{}, false
}

// importersOf returns which of the packages import p, without those that are
// themselves within the root: what matters is where the wish came from.
func importersOf(p pkg, pkgs []pkg, root string) []string {
	var importers []string
	for _, other := range pkgs {
		if slices.Contains(other.Imports, p.ImportPath) && !within(other.ImportPath, root) {
			importers = append(importers, other.ImportPath)
		}
	}
	return importers
}
