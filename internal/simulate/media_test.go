package simulate

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"image/jpeg"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// fetch downloads by a link, with headers in pairs.
func fetch(s http.Handler, link string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", link, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// finish creates a job, waits for its end, and returns its id and the links in its last
// callback and in a look-up.
func finish(t *testing.T, s *Simulator, b *inbox) (id, called, looked string) {
	t.Helper()
	id = create(t, s)
	pass(time.Minute)
	all := b.all()
	return id, videoLink(decodeBody(t, all[len(all)-1].body)), videoLink(lookUp(t, s, id))
}

func TestVideoCanBeReadAtAnyOffset(t *testing.T) {
	const size = 100_003
	whole := content(t, 1, "job", size)
	if err := iotest.TestReader(newVideo(1, "job", size), whole); err != nil {
		t.Error(err)
	}
	if len(whole) != size || http.DetectContentType(whole) != "video/mp4" {
		t.Errorf("%d bytes of %s", len(whole), http.DetectContentType(whole))
	}
	for _, other := range [][]byte{content(t, 2, "job", size), content(t, 1, "other", size)} {
		if bytes.Equal(whole, other) {
			t.Error("two videos are the same")
		}
	}
	// The second box of the MP4 file fills it after 24 bytes; its length has 64 bits.
	if box := whole[24:40]; string(box[4:8]) != "mdat" || binary.BigEndian.Uint64(box[8:]) != size-24 {
		t.Errorf("the second box begins with %x", box)
	}
}

func content(t *testing.T, seed uint64, id string, size int64) []byte {
	t.Helper()
	whole, err := io.ReadAll(newVideo(seed, id, size))
	if err != nil {
		t.Fatal(err)
	}
	return whole
}

func TestMediaNeedSignedLinks(t *testing.T) {
	sample := []byte("\x00\x00\x00\x10ftypisom____ and so on")
	run(t, Config{Video: sample, Protocol: Seed}, func(t *testing.T, s *Simulator, b *inbox) {
		create(t, s)
		pass(time.Minute)
		all := b.all()
		completed := decodeBody(t, all[len(all)-1].body)
		link, picture := text(completed, "data", "video_url"), text(completed, "data", "thumbnail_url")

		w := fetch(s, link)
		etag := w.Header().Get("ETag")
		if w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), sample) || w.Header().Get("Content-Type") != "video/mp4" || etag == "" ||
			w.Header().Get("Content-Length") != strconv.Itoa(len(sample)) || w.Header().Get("Accept-Ranges") != "bytes" {
			t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
		}
		if w := fetch(s, link, "Range", "bytes=5-", "If-Range", etag); w.Code != http.StatusPartialContent || !bytes.Equal(w.Body.Bytes(), sample[5:]) {
			t.Errorf("a range: %d %q", w.Code, w.Body)
		}
		if w := fetch(s, link, "Range", "bytes=5-", "If-Range", `"other"`); w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), sample) {
			t.Errorf("a range of another file: %d %q", w.Code, w.Body)
		}
		if w := fetch(s, link, "Range", "bytes=0-1,3-4"); w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), sample) {
			t.Errorf("two ranges: %d %q", w.Code, w.Body)
		}
		if w := fetch(s, link, "Range", "bytes=999-"); w.Code != http.StatusRequestedRangeNotSatisfiable {
			t.Errorf("a range beyond the end: %d", w.Code)
		}
		w = fetch(s, picture)
		if _, err := jpeg.Decode(w.Body); err != nil || w.Header().Get("Content-Type") != "image/jpeg" {
			t.Errorf("the thumbnail: %d %v", w.Code, err)
		}

		for name, forged := range map[string]string{
			"no token":          strings.Split(link, "?")[0],
			"another token":     strings.Replace(link, "token=", "token=0", 1),
			"a longer life":     strings.Replace(link, "expires=", "expires=1", 1),
			"the other's token": strings.Replace(picture, thumbnailFile, videoFile, 1),
		} {
			if w := fetch(s, forged); w.Code != http.StatusForbidden {
				t.Errorf("%s: %d", name, w.Code)
			}
		}
		if m := s.Stats().Media; m.Requests != 6 || m.Resumed != 3 {
			t.Errorf("%+v", m)
		}
	})
}

func TestDeadLinksAreReplacedByALookUp(t *testing.T) {
	run(t, Config{RandomSeed: 1, DeadLinks: 1}, func(t *testing.T, s *Simulator, b *inbox) {
		seen := map[int]int{}
		for range 30 {
			_, called, looked := finish(t, s, b)
			seen[fetch(s, called).Code]++
			if w := fetch(s, looked); w.Code != http.StatusOK {
				t.Errorf("the fresh link: %d %s", w.Code, w.Body)
			}
			seen[fetch(s, called).Code]++ // a dead link stays dead
		}
		if len(seen) != 3 || seen[403] == 0 || seen[404] == 0 || seen[410] == 0 {
			t.Errorf("dead links answer %v", seen)
		}
		if stats := s.Stats(); stats.Media.Dead != 60 || stats.Lookups.LinksRefreshed != 30 || stats.Media.Requests != 30 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestLinksExpireAfterTheirTime(t *testing.T) {
	run(t, Config{LinkTTL: time.Hour}, func(t *testing.T, s *Simulator, b *inbox) {
		id, called, looked := finish(t, s, b)
		// One was given at the job's end, after 4 s, the other by the look-up, after 60 s.
		codes := func() [2]int { return [2]int{fetch(s, called).Code, fetch(s, looked).Code} }
		compare(t, "at first", [2]int{200, 200}, codes())
		pass(time.Hour - 30*time.Second)
		compare(t, "when the callback's is too old", [2]int{403, 200}, codes())
		pass(31 * time.Second)
		compare(t, "when both are", [2]int{403, 403}, codes())
		if w := fetch(s, videoLink(lookUp(t, s, id))); w.Code != http.StatusOK {
			t.Errorf("a fresh link: %d", w.Code)
		}
		if stats := s.Stats(); stats.Media.Expired != 3 || stats.Lookups.LinksRefreshed != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestSlowMediaLimitsTheRate(t *testing.T) {
	run(t, Config{MediaSize: 100_000, SlowMedia: 10_000}, func(t *testing.T, s *Simulator, b *inbox) {
		id, link, _ := finish(t, s, b)
		begun := time.Now()
		w := fetch(s, link)
		if took := time.Since(begun); took != 10*time.Second {
			t.Errorf("100,000 bytes at 10,000 a second took %s", took)
		}
		if !bytes.Equal(w.Body.Bytes(), content(t, 0, id, 100_000)) {
			t.Error("it is not the job's video")
		}
	})
}

func TestBrokenDownloadCanBeResumed(t *testing.T) {
	const size = 1 << 20
	s := newSimulator(t, Config{RandomSeed: 5, MediaSize: size, BrokenMedia: 1, Duration: time.Millisecond})
	srv := httptest.NewServer(s)
	defer srv.Close()
	id := createWith(t, s, `{"prompt":"p"}`)
	settle(t, s)
	link, err := url.Parse(videoLink(lookUp(t, s, id)))
	if err != nil {
		t.Fatal(err)
	}
	link.Host = srv.Listener.Addr().String()
	var got []byte
	for attempt := range 2 {
		part, err := fetchFrom(t, srv.Client(), link.String(), len(got))
		got = append(got, part...)
		if broke := err != nil; broke != (attempt == 0) {
			t.Errorf("attempt %d ended with %v after %d bytes", attempt, err, len(part))
		}
		if attempt == 0 && (len(part) < size/4 || len(part) > size*3/4) {
			t.Errorf("it broke off after %d of %d bytes", len(part), size)
		}
	}
	if sha256.Sum256(got) != sha256.Sum256(content(t, 5, id, size)) {
		t.Errorf("the %d bytes are not the job's video", len(got))
	}
	if m := s.Stats().Media; m.Requests != 2 || m.Resumed != 1 || m.BrokenOff != 1 {
		t.Errorf("%+v", m)
	}
}

// fetchFrom reads from an offset to the end or an error.
func fetchFrom(t *testing.T, client *http.Client, link string, offset int) ([]byte, error) {
	t.Helper()
	req, err := http.NewRequest("GET", link, nil)
	if err != nil {
		t.Fatal(err)
	}
	if offset > 0 {
		req.Header.Set("Range", "bytes="+strconv.Itoa(offset)+"-")
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}
