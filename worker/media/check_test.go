package media

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckFindsBucketsThatCannotBeUsed(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	tests := []struct {
		name      string
		put, del  int
		code      string
		want      string // in the error; empty for none
		temporary bool
	}{
		{"usable", 200, 204, "", "", false},
		{"missing", 404, 404, "NoSuchBucket", "write to bucket s3://bucket/", false},
		{"read-only", 403, 403, "AccessDenied", "write to bucket s3://bucket/", false},
		{"in another region", 301, 301, "PermanentRedirect", "write to bucket s3://bucket/", false},
		{"without deletion", 200, 403, "AccessDenied", "delete from bucket s3://bucket/", false},
		{"deleted by another process", 200, 404, "NoSuchKey", "", false},
		{"overloaded", 503, 503, "SlowDown", "write to bucket s3://bucket/", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			endpoint, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				status := tt.put
				if r.Method == http.MethodDelete {
					status = tt.del
				}
				w.WriteHeader(status)
				if status >= 300 {
					_, _ = io.WriteString(w, "<Error><Code>"+tt.code+"</Code></Error>")
				}
			})
			b, err := OpenBucket(t.Context(), "s3://bucket?region=us-east-1&use_path_style=true&request_checksum_calculation=when_required&endpoint="+endpoint)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = b.Close() }()
			err = b.Check(t.Context())
			if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || IsTemporary(err) != tt.temporary) {
				t.Errorf("Check = %v (temporary: %t), want %q (temporary: %t)", err, err != nil && IsTemporary(err), tt.want, tt.temporary)
			}
			if checked := b.Checked(t.Context()); (checked == nil) != (err == nil) {
				t.Errorf("Checked = %v after %v", checked, err)
			}
		})
	}
}

func TestCheckLeavesNothingInAFolder(t *testing.T) {
	dir := t.TempDir()
	b, err := OpenBucket(t.Context(), fileURL(filepath.Join(dir, "media")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	if err := b.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if files, err := os.ReadDir(filepath.Join(dir, "media")); len(files) > 0 || err != nil {
		t.Errorf("files %v, %v; want none", files, err)
	}
}
