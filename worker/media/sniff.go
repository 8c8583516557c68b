package media

import (
	"bytes"
	"encoding/binary"
	"mime"
	"net/http"
	"regexp"
	"strings"
)

// sniffLen is how many bytes decide what a file is, as in http.DetectContentType.
const sniffLen = 512

const unrecognised = "application/octet-stream"

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

// sniff is http.DetectContentType that also detects ISO media, Matroska, more audio, and
// AWS chunks.
func sniff(head []byte) string {
	if t := sniffISO(head); t != "" {
		return t
	}
	if t := sniffAudio(head); t != "" {
		return t
	}
	if awsChunked.Match(head) {
		return "text/x-aws-chunked"
	}
	t := http.DetectContentType(head)
	switch {
	case t == "video/webm" && bytes.Contains(head[:min(len(head), 64)], []byte("matroska")):
		return "video/x-matroska"
	case t == "application/ogg" && bytes.Contains(head, []byte("theora")):
		return "video/ogg"
	case t == "application/ogg":
		return "audio/ogg"
	}
	return t
}

// sniffAudio returns the type of FLAC, and of MP3 and AAC that start with a frame.
func sniffAudio(head []byte) string {
	if bytes.HasPrefix(head, []byte("fLaC")) {
		return "audio/flac"
	}
	// A frame starts with eleven bits set, then two bits of version and two of layer.
	if len(head) < 4 || head[0] != 0xff || head[1]&0xe0 != 0xe0 {
		return ""
	}
	version, layer := head[1]>>3&3, head[1]>>1&3
	switch {
	case layer == 0 && version&2 != 0 && head[2]>>2&0xf < 13: // ADTS, with a known sample rate
		return "audio/aac"
	case (layer == 1 || layer == 2) && version != 1 && head[2]>>4 != 0xf && head[2]>>4 != 0 && head[2]>>2&3 != 3:
		return "audio/mpeg"
	}
	return ""
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
	compatible := string(head[12:max(12, min(int64(len(head)), int64(size)))])
	switch brand := string(head[8:12]); {
	case brand == "qt  ":
		return "video/quicktime"
	case brand == "avif", brand == "avis":
		return "image/avif"
	case strings.HasPrefix(brand, "hei"), strings.HasPrefix(brand, "hev"):
		return "image/heic"
	case brand == "mif1" && strings.Contains(compatible, "avif"):
		return "image/avif"
	case brand == "mif1", brand == "msf1":
		return "image/heif"
	case brand == "M4A ", brand == "M4B ", brand == "M4P ":
		return "audio/mp4"
	case strings.HasPrefix(brand, "3g"):
		return "video/3gpp"
	}
	return "video/mp4"
}
