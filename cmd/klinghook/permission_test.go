//go:build unix

package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
)

// TestNoPermission runs klinghook as a user who may not write to its files. Root may write
// anywhere, so root runs the program as another user.
func TestNoPermission(t *testing.T) {
	// Other users cannot read t.TempDir.
	dir, err := os.MkdirTemp("", "klinghook-permission-")
	testenv.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	mustMkdir(t, dir, 0o755)
	program := filepath.Join(dir, "klinghook")
	copyProgram(t, program)
	for _, name := range []string{"closed", "data", "closed-media"} {
		mustMkdir(t, filepath.Join(dir, name), 0o555)
	}
	own := filepath.Join(dir, "own")
	mustMkdir(t, own, 0o777)
	mustKlinghook(t, nil, "migrate", "--database-url", "sqlite:"+filepath.Join(dir, "data", "klinghook.db"))

	const advice = "permission denied; let this user write there, or set "
	for _, tt := range []struct {
		name string
		args []string
		want []string
	}{
		{"no data directory", []string{"dev", "--data", "closed/data"}, []string{"klinghook: create data directory: mkdir closed/data: " + advice + "KLINGHOOK_DATA (--data) to another directory"}},
		{"data", []string{"dev", "--data", "closed"}, []string{"klinghook: lock data directory: open closed/dev.lock: " + advice + "KLINGHOOK_DATA (--data) to another directory"}},
		{"bucket", []string{"dev", "--data", "own", "--bucket-url", "file://" + dir + "/closed-media"}, []string{advice + "KLINGHOOK_BUCKET_URL (--bucket-url) to another directory"}},
		{"no file for a database", []string{"migrate", "--data", "closed"}, []string{"klinghook: sqlite:closed/klinghook.db: ", "permission denied; let this user write to the file and its directory, "}},
		{"database", []string{"jobs", "list", "--data", "data"}, []string{"klinghook: sqlite:data/klinghook.db: ", "permission denied; let this user write to the file and its directory, ", "KLINGHOOK_DATA (--data)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program, tt.args...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "KLINGHOOK_ADDR=127.0.0.1:0", "KLINGHOOK_ADMIN_ADDR=127.0.0.1:0", "KLINGHOOK_LOG_LEVEL=error")
			if os.Getuid() == 0 {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			}
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("the command succeeded:\n%s", out)
			}
			for _, want := range tt.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("the output\n%s\nlacks %q", out, want)
				}
			}
		})
	}
}

// mustMkdir makes a directory with these permissions, ignoring the umask.
func mustMkdir(t *testing.T, dir string, mode os.FileMode) {
	t.Helper()
	testenv.NoError(t, os.MkdirAll(dir, 0o700))
	testenv.NoError(t, os.Chmod(dir, mode))
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
}

// copyProgram copies the program to a place where other users may run it.
func copyProgram(t *testing.T, to string) {
	t.Helper()
	self, err := os.Executable()
	testenv.NoError(t, err)
	from, err := os.Open(self)
	testenv.NoError(t, err)
	defer from.Close()
	file, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o755)
	testenv.NoError(t, err)
	if _, err := io.Copy(file, from); err != nil {
		t.Fatal(err)
	}
	testenv.NoError(t, file.Close())
}
