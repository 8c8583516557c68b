package cli

import (
	"strings"
	"testing"
)

func TestUnknownVariables(t *testing.T) {
	for _, tt := range []struct{ environ, want string }{
		{"KLINGHOOK_REDIS_ULR=x", "KLINGHOOK_REDIS_ULR is not a setting; did you mean KLINGHOOK_REDIS_URL?"},
		{"KLINGHOOK_DATABSE_URL=x", "did you mean KLINGHOOK_DATABASE_URL?"},
		{"KLINGHOOK_ADMINADDR=x", "did you mean KLINGHOOK_ADMIN_ADDR?"},
		{"KLINGHOOK_WEBHOOK_SECRET=x", "did you mean KLINGAI_WEBHOOK_SECRET?"},
		{"KLINGHOOK_WEBHOOK_SECRET_FILE=x", "did you mean KLINGAI_WEBHOOK_SECRET_FILE?"},
		{"KLINGHOOK_LOGLEVEL=x", "did you mean KLINGHOOK_LOG_LEVEL?"},
		{"KLINGHOOK_QUEUE=x", "did you mean KLINGHOOK_QUEUES?"},
		{"KLINGHOOK_PORT=80", "KLINGHOOK_PORT is not a setting"},
		{"KLINGHOOK_ZZZ= KLINGAI_ORGANIZATION=x KLINGHOOKS=x KLINGHOOK_REDIS_URL=x", ""},
		// Kubernetes sets these for Services named klinghook and klinghook-ingest.
		{"KLINGHOOK_SERVICE_HOST=10.0.0.1 KLINGHOOK_SERVICE_PORT=80 KLINGHOOK_PORT=tcp://10.0.0.1:80 KLINGHOOK_PORT_80_TCP_ADDR=10.0.0.1", ""},
		{"KLINGHOOK_INGEST_SERVICE_HOST=10.0.0.2 KLINGHOOK_INGEST_PORT=tcp://10.0.0.2:80", ""},
		// docker-compose.yml has these.
		{"ENV_FILE=.env KLINGHOOK_PORT=5000 KLINGHOOK_ADMIN_PORT=5001 KLINGHOOK_SITE=x", ""},
		{"KLINGHOOK_SITE=:5000", ""},
	} {
		got := strings.Join(unknownVariables(strings.Fields(tt.environ)), "\n")
		if !strings.HasSuffix(got, tt.want) && !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: %q, want %q", tt.environ, got, tt.want)
		}
	}
}
