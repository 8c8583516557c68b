package media

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"strings"
)

// FileType is the kind of file that a download must be.
type FileType int

// The kinds of media.
const (
	Video FileType = iota
	Image
)

// String returns the kind in words.
func (k FileType) String() string {
	if k == Image {
		return "image"
	}
	return "video"
}

// sniffLen is how many bytes decide what a file is, as in http.DetectContentType.
const sniffLen = 512

const unrecognised = "application/octet-stream"

// contentType returns the type of a file of this kind, by its first bytes, or by the
// declared Content-Type if those say nothing. The bytes win: an error page served as
// video/mp4 is no video. After a restart only the bytes count, which may be the middle of
// a file.
func (k FileType) contentType(head []byte, declared string, restarted bool) (string, error) {
	declared = mediaType(declared)
	sniffed := sniff(head)
	if strings.HasPrefix(sniffed, k.String()+"/") {
		return sniffed, nil
	}
	if sniffed == unrecognised && restarted {
		return "", fmt.Errorf("it is unrecognised data after a restart of the download, not %s", k)
	}
	if sniffed == unrecognised && k.vouchedBy(declared) {
		if declared == "" {
			return unrecognised, nil
		}
		return declared, nil
	}
	if sniffed == unrecognised && declared != "" {
		return "", fmt.Errorf("it is unrecognised data, declared as %q, not %s", declared, k)
	}
	return "", fmt.Errorf("it is %q, not %s", sniffed, k)
}

// vouchedBy reports whether a declared type suffices for data that no signature
// matches. There are more video formats than are recognised; images must be declared.
func (k FileType) vouchedBy(declared string) bool {
	if k == Image {
		return strings.HasPrefix(declared, "image/") && declared != "image/svg+xml"
	}
	switch declared {
	case "", unrecognised, "binary/octet-stream":
		return true
	}
	return strings.HasPrefix(declared, "video/")
}

// mediaType returns a Content-Type without parameters; empty if absent or invalid.
func mediaType(value string) string {
	t, _, err := mime.ParseMediaType(value)
	if err != nil {
		return ""
	}
	return t
}

// awsChunked matches the start of a body that an S3-compatible store kept as uploaded: in
// chunks with a header each.
var awsChunked = regexp.MustCompile(`^[0-9a-fA-F]+(;chunk-signature=[0-9a-f]+)?\r\n`)

// sniff is http.DetectContentType that also detects ISO media, Matroska and AWS chunks.
func sniff(head []byte) string {
	if t := sniffISO(head); t != "" {
		return t
	}
	if awsChunked.Match(head) {
		return "text/x-aws-chunked"
	}
	t := http.DetectContentType(head)
	if t == "video/webm" && bytes.Contains(head[:min(len(head), 64)], []byte("matroska")) {
		return "video/x-matroska"
	}
	return t
}

// sniffISO returns the type of a file of boxes (ISO/IEC 14496-12), each with its size
// and type. The first is usually ftyp or styp, with a brand of https://mp4ra.org.
func sniffISO(head []byte) string {
	if len(head) < 8 {
		return ""
	}
	size := binary.BigEndian.Uint32(head)
	switch string(head[4:8]) {
	case "ftyp":
	case "mdat": // may be large; 0 is to the end, and with 1 another size follows
		if size < 2 || size >= 8 {
			return "video/mp4"
		}
		return ""
	case "styp", "moov", "moof", "sidx", "wide", "free", "skip":
		if size < 8 || size > 64<<20 { // else it may be text
			return ""
		}
		return "video/mp4"
	default:
		return ""
	}
	if len(head) < 12 {
		return ""
	}
	switch brand := string(head[8:12]); {
	case brand == "qt  ":
		return "video/quicktime"
	case brand == "avif", brand == "avis":
		return "image/avif"
	case strings.HasPrefix(brand, "hei"), strings.HasPrefix(brand, "hev"):
		return "image/heic"
	case brand == "mif1", brand == "msf1":
		return "image/heif"
	case brand == "M4A ", brand == "M4B ", brand == "M4P ":
		return "audio/mp4"
	case strings.HasPrefix(brand, "3g"):
		return "video/3gpp"
	}
	return "video/mp4"
}
