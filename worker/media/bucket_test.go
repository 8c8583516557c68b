package media

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klinghook/klinghook/tasks"
)

func TestObjectNamesAreSafe(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, platform, job, media, want string }{
		{"video", "kling", "vid_abc123", "video", "vid_abc123/video"},
		{"further video", "kling", "vid_abc123", "video-2", "vid_abc123/video-2"},
		{"thumbnail", "kling", "vid_abc123", "thumbnail", "vid_abc123/thumbnail"},
		{"path in the id", "kling", "../../etc", "video", "~2e.~2f..~2fetc/video"},
		{"path in the name", "kling", "vid_1", "../x", "vid_1/~2e.~2fx"},
		// printf VID_1 | sha256sum
		{"upper case", "kling", "VID_1", "video", "VID_1~~99ad665646cbe376/video"},
		{"long, upper case", "kling", strings.Repeat("A", 200), "video", tasks.SafeID(strings.Repeat("A", 200)) + "/video"},
		{"dot at the end", "kling", "vid_1.", "video", "vid_1~2e/video"},
		{"device", "kling", "con", "nul", "~63on/~6eul"},
		{"device with an extension", "kling", "com1.tar.gz", "video", "~63om1.tar.gz/video"},
		{"no device", "kling", "console", "com10", "console/com10"},
		{"another platform", "fal", "vid_1", "video", "platform=fal/vid_1/video"},
		{"path in the platform", "..", "vid_1", "video", "platform=~2e~2e/vid_1/video"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := ObjectName(tasks.JobKey{Platform: tt.platform, ID: tt.job}, tt.media); got != tt.want {
				t.Errorf("ObjectName(%s %q, %q) = %q, want %q", tt.platform, tt.job, tt.media, got, tt.want)
			}
		})
	}
}

func TestOpenBucketSaysWhatToWrite(t *testing.T) {
	t.Parallel()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, url string
		want      []string
	}{
		{"relative path", "klinghook-data/media", []string{"write file://" + wd + "/klinghook-data/media"}},
		{"absolute path", "/var/media", []string{"write file:///var/media"}},
		{"two slashes", "file://data/media", []string{"write file://" + wd + "/data/media"}},
		{"no slash", "file:data/media", []string{"write file://" + wd + "/data/media"}},
		{"no folder", "file://", []string{"write file:///"}},
		{"unknown scheme", "ftp://host/x", []string{`"ftp"`, "file://", "s3://", "gs://", "azblob://"}},
		{"memory", "mem://", []string{`"mem"`, "file://"}},
		{"not a URL", "s3://%zz", []string{"file://", "s3://"}},
		{"no bucket", "s3:///folder", []string{"write s3://name"}},
		{"folder of a bucket", "gs://bucket/some/folder/", []string{"write gs://bucket?prefix=some/folder/"}},
		{"credentials", "s3://KEY:SECRET@bucket", []string{"s3://bucket", "environment"}},
		{"unknown parameter", "file:///tmp?nonsense=1", []string{"nonsense"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := OpenBucket(t.Context(), tt.url)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not contain %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "SECRET") {
				t.Errorf("error shows a credential: %v", err)
			}
		})
	}
}

func TestObjectsAreWhereTheBucketURLSays(t *testing.T) {
	t.Setenv("AZURE_STORAGE_ACCOUNT", "test")
	t.Setenv("AZURE_STORAGE_KEY", "dGVzdA==")
	google := filepath.Join(t.TempDir(), "google.json")
	if err := os.WriteFile(google, []byte(`{"type":"authorized_user","client_id":"x","client_secret":"x","refresh_token":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", google)
	// Without this, Google's client checks over the network whether it runs in its cloud.
	t.Setenv("GCE_METADATA_HOST", "127.0.0.1:1")
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	dir, forms := t.TempDir(), t.TempDir()
	t.Chdir(forms)
	for url, want := range map[string]string{
		"file://" + dir:          filepath.Join(dir, object),
		"file://localhost" + dir: filepath.Join(dir, object),
		"file://./media":         filepath.Join(forms, "media", object),
		"file://" + dir + "/new?metadata=&create_dir=1":                                         filepath.Join(dir, "new", object),
		"s3://bucket?region=eu-central-1":                                                       "s3://bucket/" + object,
		"s3://bucket/?endpoint=https://minio.example:9000&region=us-east-1&use_path_style=true": "s3://bucket/" + object,
		"s3://bucket?region=eu-west-1&prefix=kling/":                                            "s3://bucket/kling/" + object,
		"gs://bucket":        "gs://bucket/" + object,
		"azblob://container": "azblob://container/" + object,
	} {
		b, err := OpenBucket(t.Context(), url)
		if err != nil {
			t.Errorf("OpenBucket(%q) = %v", url, err)
			continue
		}
		if got := b.Location(object); got != want {
			t.Errorf("Location in %s = %q, want %q", url, got, want)
		}
		if err := b.Close(); err != nil {
			t.Errorf("close %q: %v", url, err)
		}
	}
	if _, err := os.Stat("media"); err != nil {
		t.Error(err)
	}
}
