package dashboard_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

// TestClientOfTheDescription makes a client from docs/openapi.json and uses it. The client
// is in a module of its own and gets the generated file as an overlay.
func TestClientOfTheDescription(t *testing.T) {
	t.Parallel()
	const program = "testdata/client"
	directory, err := filepath.Abs(program)
	testenv.NoError(t, err)
	description, err := filepath.Abs(openAPIFile)
	testenv.NoError(t, err)
	generated, overlay := filepath.Join(t.TempDir(), "client.go"), filepath.Join(t.TempDir(), "overlay.json")
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = program
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
	run("tool", "oapi-codegen", "-config", "generate.yaml", "-o", generated, description)
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(directory, "client.gen.go"): generated}})
	testenv.NoError(t, err)
	testenv.NoError(t, os.WriteFile(overlay, text, 0o600))

	s := newAPIServer(t)
	s.record("vid_1", tasks.StatusCompleted)
	s.keep("vid_1", "video/mp4", "0123456789")
	s.bury("vid_1", "another cause")
	for _, id := range []string{"vid_2", "vid_3", "vid_4"} {
		s.bury(id, "the host answered 404")
	}
	run("run", "-overlay", overlay, ".", s.url+"/api/v1", operatorToken)
}
