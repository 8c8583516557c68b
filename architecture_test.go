// Package klinghook_test checks the architecture: which package may import which, and
// what the public program links. docs/architecture.md explains it.
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
	ingest = module + "/cmd/klinghook-ingest"
	// ingestMaxSize is the limit for the stripped program, in bytes.
	ingestMaxSize = 20 << 20
)

// layers are the folders of packages, with the layers that each may import besides
// itself. cmd may import all; only cmd imports config.
func layers() map[string][]string {
	return map[string][]string{
		"internal/join": nil,
		"tasks":         nil,

		"internal/source": {"tasks"},
		"internal/kling":  {"internal/source", "tasks"},
		"internal/store":  {"tasks", "internal/join"},

		"ingest":         {"internal/source", "internal/join", "tasks"},
		"worker":         {"internal/source", "internal/kling", "internal/store", "internal/join", "tasks"},
		"internal/admin": {"internal/doctor", "internal/source", "internal/kling", "internal/store", "tasks"},

		"internal/doctor": {"internal/source", "internal/kling", "internal/store", "tasks"},

		// The fake Kling shares no code with us, so that it does not share our errors.
		"internal/simulate": nil,

		"config":           nil,
		"internal/process": nil,

		"internal/testenv": nil, // these are for tests only
		"internal/e2e":     nil,
		"deploy":           nil,
	}
}

// owners are the layers that may import a library. Tests may import all.
func owners() map[string][]string {
	sql := []string{"internal/store", "internal/testenv"}
	return map[string][]string{
		"github.com/labstack":                {"ingest"},
		"database/sql":                       sql,
		"github.com/jackc/pgx":               sql,
		"modernc.org/sqlite":                 sql,
		"github.com/pressly/goose":           sql,
		"github.com/hibiken":                 {"tasks", "worker", "internal/admin", "cmd"},
		"gocloud.dev":                        {"worker/media"},
		"github.com/danielgtaylor/huma":      {"internal/admin/dashboard"},
		"github.com/sony/gobreaker":          {"ingest/spool"},
		"github.com/nicholas-fedor/shoutrrr": {"worker/notify"},
		"go.opentelemetry.io/otel/sdk":       {"internal/process"},
		"github.com/vbauerster":              {"cmd"},
		"github.com/chromedp":                {"internal/testenv"},
		"github.com/rogpeppe/go-internal":    {"internal/testenv"},
		module + "/internal/testenv":         {"internal/testenv", "internal/e2e"},
	}
}

// notInIngest are packages that the public program must not link: code that is not
// there cannot be attacked and needs no memory. gRPC is linked because the OTLP
// exporter's protobuf types import it; the grpcnotrace tag keeps that at one MiB.
func notInIngest() []string {
	return []string{
		module + "/worker", module + "/internal/store", module + "/internal/kling", module + "/internal/admin/dashboard", module + "/internal/admin/login",
		"github.com/jackc/pgx", "modernc.org", "github.com/pressly/goose",
		"gocloud.dev", "github.com/aws", "github.com/Azure", "github.com/AzureAD", "cloud.google.com",
		"google.golang.org/api",
		"github.com/hibiken/asynqmon", "github.com/danielgtaylor/huma", "github.com/nicholas-fedor/shoutrrr", "github.com/alicebob/miniredis", "github.com/vbauerster",
	}
}

// pkg is a package as go list prints it.
type pkg struct {
	ImportPath string
	Imports    []string
}

func TestArchitecture(t *testing.T) {
	all := list(t)
	t.Run("layers import only downwards", func(t *testing.T) {
		for _, p := range all {
			layer := layerOf(p.ImportPath)
			if !within(p.ImportPath, module) || p.ImportPath == module || layer == "cmd" {
				continue
			}
			allowed, ok := layers()[layer]
			if !ok {
				t.Errorf("%s is in no layer: add it to layers", p.ImportPath)
			}
			for _, imported := range p.Imports {
				if to := layerOf(imported); within(imported, module) && to != layer && !slices.Contains(allowed, to) {
					t.Errorf("%s imports %s: %s may import only %q", p.ImportPath, imported, layer, allowed)
				}
			}
		}
	})
	t.Run("libraries stay in their layers", func(t *testing.T) {
		for _, p := range all {
			for library, layers := range owners() {
				if !within(p.ImportPath, module) || within(p.ImportPath, module+"/bench") || !slices.ContainsFunc(p.Imports, func(i string) bool { return within(i, library) }) {
					continue
				}
				if !slices.ContainsFunc(layers, func(layer string) bool { return within(p.ImportPath, path.Join(module, layer)) }) {
					t.Errorf("%s imports %s, which only %q may", p.ImportPath, library, layers)
				}
			}
		}
	})
	t.Run("ingest links only what it needs", func(t *testing.T) {
		linkedBy := linked(all, ingest)
		if _, ok := linkedBy[module+"/ingest"]; !ok {
			t.Errorf("%s does not link %s/ingest", ingest, module)
		}
		for p, importer := range linkedBy {
			for _, unwanted := range notInIngest() {
				if within(p, unwanted) && !within(importer, unwanted) {
					t.Errorf("%s links %s, imported by %s", ingest, p, importer)
				}
			}
		}
	})
}

func TestIngestIsSmall(t *testing.T) {
	program := filepath.Join(t.TempDir(), "klinghook-ingest")
	run(t, "build", "-tags", "grpcnotrace", "-ldflags", "-s -w", "-o", program, ingest)
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > ingestMaxSize {
		t.Errorf("%s has %d bytes stripped, want at most %d", ingest, info.Size(), ingestMaxSize)
	}
	t.Logf("%s has %.1f MiB stripped", ingest, float64(info.Size())/(1<<20))
}

// list returns our packages and all that they link, without tests.
func list(t *testing.T) (pkgs []pkg) {
	t.Helper()
	out := json.NewDecoder(strings.NewReader(run(t, "list", "-deps", "-json=ImportPath,Imports", "./...")))
	for {
		var p pkg
		if err := out.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// linked returns the packages that a program links, each with one that imports it.
func linked(all []pkg, program string) map[string]string {
	imports := map[string][]string{}
	for _, p := range all {
		imports[p.ImportPath] = p.Imports
	}
	importers := map[string]string{program: ""}
	for queue := []string{program}; len(queue) > 0; queue = queue[1:] {
		for _, imported := range imports[queue[0]] {
			if _, seen := importers[imported]; !seen {
				importers[imported] = queue[0]
				queue = append(queue, imported)
			}
		}
	}
	return importers
}

// run returns what the go command prints.
func run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as for a release
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// within reports whether a package is root or below it.
func within(importPath, root string) bool {
	return importPath == root || strings.HasPrefix(importPath, root+"/")
}

// layerOf returns the layer of a package of ours.
func layerOf(importPath string) string {
	relative := strings.TrimPrefix(importPath, module+"/")
	parts := strings.SplitN(relative, "/", 3)
	if parts[0] == "internal" && len(parts) > 1 {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}
