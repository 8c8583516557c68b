package programs

import (
	"strings"
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestListening(t *testing.T) {
	log := strings.Join([]string{
		`klinghook dev is running`,
		`{"level":"info","message":"listening","for":"admin","address":"127.0.0.1:5001"}`,
		`{"level":"info","message":"stopping","for":"webhooks","address":"127.0.0.1:1"}`,
		`{"level":"info","message":"listening","for":"webhooks","address":"127.0.0.1:5000"}`,
	}, "\n")
	for what, want := range map[string]string{"admin": "127.0.0.1:5001", "webhooks": "127.0.0.1:5000", "other": ""} {
		if got := Listening([]byte(log), what); got != want {
			t.Errorf("Listening(%q) = %q, want %q", what, got, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("KLINGHOOK_ADDR", "of the test's own environment")
	for _, entry := range Environment(map[string]string{"KLINGHOOK_DATA": "data"}) {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "KLING") && entry != "KLINGHOOK_DATA=data" {
			t.Errorf("a program would get %s=%s", name, value)
		}
	}
}

func TestBuildTellsWhatIsWrong(t *testing.T) {
	_, err := Build(t.Context(), "-no-such-flag")
	if err == nil || !strings.Contains(err.Error(), "no-such-flag") {
		t.Errorf("error %v does not carry what go build said", err)
	}
}
