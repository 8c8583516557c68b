package media

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOpenGoogleAndAzure(t *testing.T) {
	t.Setenv("AZURE_STORAGE_ACCOUNT", "test")
	t.Setenv("AZURE_STORAGE_KEY", "dGVzdA==")
	google := filepath.Join(t.TempDir(), "google.json")
	if err := os.WriteFile(google, []byte(`{"type":"authorized_user","client_id":"x","client_secret":"x","refresh_token":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", google)
	// Without this Google's client asks the network whether it runs in Google's cloud,
	// and leaves a connection behind where something answers.
	t.Setenv("GCE_METADATA_HOST", "127.0.0.1:1")
	openAndClose(t, "gs://bucket")
	openAndClose(t, "azblob://container")
}
