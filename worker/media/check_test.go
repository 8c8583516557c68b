package media

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestCheckFindsBucketsThatCannotBeUsed(t *testing.T) {
	tests := []struct {
		name      string
		put, del  int
		code      string
		want      string // in the error; empty for none
		temporary bool
	}{
		{"usable", 200, 204, "", "", false},
		{"missing", 404, 404, "NoSuchBucket", "write to bucket s3://bucket/klinghook/", false},
		{"read-only", 403, 403, "AccessDenied", "write to bucket s3://bucket/klinghook/", false},
		{"in another region", 301, 301, "PermanentRedirect", "write to bucket s3://bucket/klinghook/", false},
		{"without deletion", 200, 403, "AccessDenied", "delete from bucket s3://bucket/klinghook/", false},
		{"deleted by another process", 200, 404, "NoSuchKey", "", false},
		{"overloaded", 503, 503, "SlowDown", "write to bucket s3://bucket/klinghook/", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := openS3(t, func(w http.ResponseWriter, r *http.Request) {
				status := tt.put
				if r.Method == http.MethodDelete {
					status = tt.del
				}
				w.WriteHeader(status)
				if status >= 300 {
					_, _ = io.WriteString(w, "<Error><Code>"+tt.code+"</Code></Error>")
				}
			})
			err := b.Check(t.Context())
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
	b, dir := fileBucketIn(t)
	if err := b.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if files := filesIn(t, dir); len(files) > 0 {
		t.Errorf("files %q, want none", files)
	}
}
