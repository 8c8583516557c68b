package simulate

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

// The files of a job that succeeded.
const (
	videoFile     = "video.mp4"
	thumbnailFile = "thumbnail.jpg"
)

// giver is who gave a link out.
type giver string

const (
	byCallback giver = "callback"
	byLookup   giver = "lookup"
)

// links makes links and knows its own again.
type links struct {
	key []byte
	ttl time.Duration
}

func newLinks(ttl time.Duration) links {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return links{key, ttl}
}

// make returns a link that expires some time after it is given.
func (l links) make(j *job, file string, by giver, given time.Time) string {
	expires := given.Add(l.ttl).Unix()
	query := url.Values{"token": {l.token(j.id, file, by, expires)}, "expires": {strconv.FormatInt(expires, 10)}}
	return fmt.Sprintf("%s/media/%s/%s?%s", j.base, j.id, file, query.Encode())
}

func (l links) token(id, file string, by giver, expires int64) string {
	mac := hmac.New(sha256.New, l.key)
	fmt.Fprintf(mac, "%s/%s/%s/%d", id, file, by, expires)
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// read returns who gave a link out and until when; ok is false where it is none
// of ours.
func (l links) read(id, file string, query url.Values) (by giver, expires time.Time, ok bool) {
	seconds, err := strconv.ParseInt(query.Get("expires"), 10, 64)
	if err != nil {
		return "", time.Time{}, false
	}
	for _, by := range []giver{byCallback, byLookup} {
		if hmac.Equal([]byte(query.Get("token")), []byte(l.token(id, file, by, seconds))) {
			return by, time.Unix(seconds, 0), true
		}
	}
	return "", time.Time{}, false
}
