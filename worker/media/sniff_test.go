package media

import (
	"strings"
	"testing"
)

func TestBytesDecideTheContentType(t *testing.T) {
	t.Parallel()
	const (
		mp4    = "\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2"
		qt     = "\x00\x00\x00\x14ftypqt  \x00\x00\x02\x00qt  "
		webm   = "\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm"
		mkv    = "\x1a\x45\xdf\xa3\xa3\x42\x86\x81\x01\x42\x82\x88matroska"
		avi    = "RIFF\x00\x00\x00\x00AVI LIST"
		binary = "\x47\x40\x00\x10\x00\x01\x02\x03"
		jpeg   = "\xff\xd8\xff\xe0\x00\x10JFIF"
		png    = "\x89PNG\x0d\x0a\x1a\x0a"
		webp   = "RIFF\x00\x00\x00\x00WEBPVP8 "
		avif   = "\x00\x00\x00\x1cftypavif\x00\x00\x00\x00mif1"
		heic   = "\x00\x00\x00\x1cftypheic\x00\x00\x00\x00mif1"
		m4a    = "\x00\x00\x00\x1cftypM4A \x00\x00\x00\x00mp42"
		html   = "\n <!DOCTYPE html><title>404</title>"
		xml    = `<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>`
		svg    = `<svg xmlns="http://www.w3.org/2000/svg"/>`
		gzip   = "\x1f\x8b\x08\x00"
	)
	tests := []struct {
		name     string
		kind     FileType
		head     string
		declared string
		want     string // empty: refused
	}{
		{"mp4", Video, mp4, "video/mp4", "video/mp4"},
		{"mp4 as text", Video, mp4, "text/plain", "video/mp4"},
		{"mp4 of no type", Video, mp4, "", "video/mp4"},
		{"mp4 of another brand", Video, strings.Replace(mp4, "ftypisom", "ftypdash", 1), "", "video/mp4"},
		{"3gp", Video, strings.Replace(mp4, "ftypisom", "ftyp3gp6", 1), "", "video/3gpp"},
		{"starts with styp", Video, "\x00\x00\x00\x18stypmsdh\x00\x00\x00\x00msdhmsix", "", "video/mp4"},
		{"starts with moov", Video, "\x00\x00\x0a\x00moov\x00\x00\x00\x6cmvhd", "text/plain", "video/mp4"},
		{"starts with mdat", Video, "\x7f\x00\x00\x00mdat\x00\x01", "", "video/mp4"},
		{"starts with mdat of 64-bit size", Video, "\x00\x00\x00\x01mdat\x00\x00", "", "video/mp4"},
		{"starts with wide", Video, "\x00\x00\x00\x08wide\x00\x00\x10\x00mdat", "text/plain", "video/mp4"},
		{"starts with free", Video, "\x00\x00\x00\x08free\x00\x00\x10\x00mdat", "", "video/mp4"},
		{"text with the name of a box", Video, "Get free videos here", "", ""},
		{"quicktime", Video, qt, "application/octet-stream", "video/quicktime"},
		{"webm", Video, webm, "", "video/webm"},
		{"matroska", Video, mkv, "", "video/x-matroska"},
		{"avi", Video, avi, "", "video/avi"},
		{"binary as video", Video, binary, "Video/MP4; codecs=avc1", "video/mp4"},
		{"binary as octet-stream", Video, binary, "application/octet-stream", "application/octet-stream"},
		{"binary as S3 stores it", Video, binary, "binary/octet-stream", "binary/octet-stream"},
		{"binary of no type", Video, binary, "", "application/octet-stream"},
		{"binary of a broken type", Video, binary, "; ;", "application/octet-stream"},
		{"binary as image", Video, binary, "image/png", ""},
		{"binary as html", Video, binary, "text/html", ""},
		{"html as video", Video, html, "video/mp4", ""},
		{"jpeg as video", Video, jpeg, "video/mp4", ""},
		{"avif as video", Video, avif, "video/mp4", ""},
		{"audio as video", Video, m4a, "video/mp4", ""},
		{"gzip as video", Video, gzip, "video/mp4", ""},
		{"jpeg", Image, jpeg, "image/jpeg", "image/jpeg"},
		{"jpeg as octet-stream", Image, jpeg, "application/octet-stream", "image/jpeg"},
		{"png as jpeg", Image, png, "image/jpeg", "image/png"},
		{"webp", Image, webp, "", "image/webp"},
		{"avif", Image, avif, "", "image/avif"},
		{"heic", Image, heic, "", "image/heic"},
		{"heif", Image, strings.Replace(heic, "ftypheic", "ftypmif1", 1), "", "image/heif"},
		{"binary as an image", Image, binary, "image/jxl", "image/jxl"},
		{"binary as svg", Image, binary, "image/svg+xml", ""},
		{"binary of no type as image", Image, binary, "", ""},
		{"binary octet-stream as image", Image, binary, "application/octet-stream", ""},
		{"svg", Image, svg, "image/svg+xml", ""},
		{"svg with xml header", Image, xml, "image/svg+xml", ""},
		{"html as image", Image, html, "image/jpeg", ""},
		{"video as image", Image, mp4, "image/jpeg", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.kind.contentType([]byte(tt.head), tt.declared, false)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("contentType = %q, %v, want %q", got, err, tt.want)
			}
			if _, err := tt.kind.contentType([]byte(tt.head), tt.declared, true); (tt.head == binary || tt.want == "") && err == nil {
				t.Error("accepted after a restart")
			}
			if err != nil && !strings.Contains(err.Error(), "not "+tt.kind.String()) {
				t.Errorf("error %q does not say that it is not %s", err, tt.kind)
			}
		})
	}
}
