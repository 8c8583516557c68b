package media

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"testing"
)

func TestFilesAreWhatTheirHashSays(t *testing.T) {
	s, err := Start(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const size = 2*blockSize + 12345
	whole := fetch(t, s.URL(size, 1), "")
	if len(whole) != size {
		t.Fatalf("the file has %d bytes, want %d", len(whole), size)
	}
	sum := sha256.Sum256(whole)
	want, err := s.SHA256(size)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("the file's hash is %s, want %s", got, want)
	}
	if part := fetch(t, s.URL(size, 1), "bytes=1048000-1049999"); string(part) != string(whole[1048000:1050000]) {
		t.Errorf("a range over the end of a block has %d bytes that are not the file's", len(part))
	}
	if s.Requests() != 2 {
		t.Errorf("%d requests counted, want 2", s.Requests())
	}
}

func fetch(t *testing.T, url, ranges string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ranges != "" {
		req.Header.Set("Range", ranges)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
