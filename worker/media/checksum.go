package media

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"net/http"
	"slices"
	"strings"
)

// checksum is a checksum that a server declared, and the hash of the bytes received so
// far.
type checksum struct {
	hash.Hash
	algorithm string
	want      []byte
}

// fileSums are the fields with checksums of the whole file, even in a partial response;
// bodySums are the fields with checksums of the response's body.
var (
	fileSums = []string{"X-Goog-Hash", "Digest", "Repr-Digest"}
	bodySums = []string{"Content-Md5", "Content-Digest"}
)

// checksumsOf returns the checksums in these fields. It ignores values that are not
// checksums of a known algorithm.
func checksumsOf(header http.Header, fields []string) (sums []checksum) {
	algorithms := map[string]func() hash.Hash{
		"md5": md5.New, "sha-256": sha256.New,
		"crc32c": func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	}
	for _, field := range fields {
		if stored := header.Get("X-Goog-Stored-Content-Encoding"); field == "X-Goog-Hash" && stored != "" && stored != "identity" {
			continue // the checksum of the encoded file
		}
		for item := range strings.SplitSeq(strings.Join(header.Values(field), ","), ",") {
			algorithm, value := "md5", item
			if field != "Content-Md5" {
				algorithm, value, _ = strings.Cut(item, "=")
			}
			algorithm = strings.ToLower(strings.TrimSpace(algorithm))
			if newHash := algorithms[algorithm]; newHash != nil {
				sum := checksum{newHash(), algorithm, nil}
				if sum.want = decodeSum(value, sum.Size()); sum.want != nil {
					sums = append(sums, sum)
				}
			}
		}
	}
	return sums
}

// decodeSum decodes size bytes in base64 or hex, which may be between colons; nil if the
// value is neither.
func decodeSum(value string, size int) []byte {
	value = strings.Trim(value, " \t:\"")
	if b, err := base64.StdEncoding.DecodeString(value); err == nil && len(b) == size {
		return b
	}
	if b, err := hex.DecodeString(value); err == nil && len(b) == size {
		return b
	}
	return nil
}

// checkSums returns an error if a received sum differs from the declared one. It does not
// check sums in except.
func checkSums(sums, except []checksum) error {
	for _, s := range sums {
		known := slices.ContainsFunc(except, func(e checksum) bool { return e.algorithm == s.algorithm && bytes.Equal(e.want, s.want) })
		if got := s.Sum(nil); !known && !bytes.Equal(got, s.want) {
			return fmt.Errorf("the server declared the %s checksum %x and sent bytes with %x", s.algorithm, s.want, got)
		}
	}
	return nil
}
