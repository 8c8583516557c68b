package media

import (
	"strings"
	"testing"

	"github.com/klinghook/klinghook/tasks"
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
		id3    = "ID3\x04\x00\x00\x00\x00\x00\x00"
		mp3    = "\xff\xfb\x90\x64\x00"
		aac    = "\xff\xf1\x50\x80\x00"
		wav    = "RIFF\x24\x00\x00\x00WAVEfmt "
		ogg    = "OggS\x00\x02OpusHead"
		flac   = "fLaC\x00\x00\x00\x22"
		utf16  = "\xff\xfe<\x00h\x00t\x00m\x00l\x00"
		json   = ` {"element_id": 1}`
	)
	tests := []struct {
		name     string
		kind     tasks.MediaKind
		head     string
		declared string
		want     string // empty: refused
	}{
		{"mp4", tasks.MediaVideo, mp4, "video/mp4", "video/mp4"},
		{"mp4 as text", tasks.MediaVideo, mp4, "text/plain", "video/mp4"},
		{"mp4 of no type", tasks.MediaVideo, mp4, "", "video/mp4"},
		{"mp4 of another brand", tasks.MediaVideo, strings.Replace(mp4, "ftypisom", "ftypdash", 1), "", "video/mp4"},
		{"3gp", tasks.MediaVideo, strings.Replace(mp4, "ftypisom", "ftyp3gp6", 1), "", "video/3gpp"},
		{"starts with styp", tasks.MediaVideo, "\x00\x00\x00\x18stypmsdh\x00\x00\x00\x00msdhmsix", "", "video/mp4"},
		{"starts with moov", tasks.MediaVideo, "\x00\x00\x0a\x00moov\x00\x00\x00\x6cmvhd", "text/plain", "video/mp4"},
		{"starts with mdat", tasks.MediaVideo, "\x7f\x00\x00\x00mdat\x00\x01", "", "video/mp4"},
		{"starts with mdat of 64-bit size", tasks.MediaVideo, "\x00\x00\x00\x01mdat\x00\x00", "", "video/mp4"},
		{"starts with wide", tasks.MediaVideo, "\x00\x00\x00\x08wide\x00\x00\x10\x00mdat", "text/plain", "video/mp4"},
		{"starts with free", tasks.MediaVideo, "\x00\x00\x00\x08free\x00\x00\x10\x00mdat", "", "video/mp4"},
		{"text with the name of a box", tasks.MediaVideo, "Get free videos here", "", ""},
		{"quicktime", tasks.MediaVideo, qt, "application/octet-stream", "video/quicktime"},
		{"webm", tasks.MediaVideo, webm, "", "video/webm"},
		{"matroska", tasks.MediaVideo, mkv, "", "video/x-matroska"},
		{"avi", tasks.MediaVideo, avi, "", "video/avi"},
		{"binary as video", tasks.MediaVideo, binary, "Video/MP4; codecs=avc1", "video/mp4"},
		{"binary as octet-stream", tasks.MediaVideo, binary, "application/octet-stream", "application/octet-stream"},
		{"binary as S3 stores it", tasks.MediaVideo, binary, "binary/octet-stream", "binary/octet-stream"},
		{"binary of no type", tasks.MediaVideo, binary, "", "application/octet-stream"},
		{"binary of a broken type", tasks.MediaVideo, binary, "; ;", "application/octet-stream"},
		{"binary as image", tasks.MediaVideo, binary, "image/png", ""},
		{"binary as html", tasks.MediaVideo, binary, "text/html", ""},
		{"html as video", tasks.MediaVideo, html, "video/mp4", ""},
		{"jpeg as video", tasks.MediaVideo, jpeg, "video/mp4", ""},
		{"avif as video", tasks.MediaVideo, avif, "video/mp4", ""},
		{"audio as video", tasks.MediaVideo, m4a, "video/mp4", ""},
		{"gzip as video", tasks.MediaVideo, gzip, "video/mp4", ""},
		{"jpeg", tasks.MediaImage, jpeg, "image/jpeg", "image/jpeg"},
		{"jpeg as octet-stream", tasks.MediaImage, jpeg, "application/octet-stream", "image/jpeg"},
		{"png as jpeg", tasks.MediaImage, png, "image/jpeg", "image/png"},
		{"webp", tasks.MediaImage, webp, "", "image/webp"},
		{"avif", tasks.MediaImage, avif, "", "image/avif"},
		{"heic", tasks.MediaImage, heic, "", "image/heic"},
		{"heif", tasks.MediaImage, strings.Replace(heic, "ftypheic", "ftypmif1", 1), "", "image/heif"},
		{"binary as an image", tasks.MediaImage, binary, "image/jxl", "image/jxl"},
		{"binary as svg", tasks.MediaImage, binary, "image/svg+xml", ""},
		{"binary of no type as image", tasks.MediaImage, binary, "", ""},
		{"binary octet-stream as image", tasks.MediaImage, binary, "application/octet-stream", ""},
		{"svg", tasks.MediaImage, svg, "image/svg+xml", ""},
		{"svg with xml header", tasks.MediaImage, xml, "image/svg+xml", ""},
		{"html as image", tasks.MediaImage, html, "image/jpeg", ""},
		{"video as image", tasks.MediaImage, mp4, "image/jpeg", ""},
		{"avif of a general brand", tasks.MediaThumbnail, "\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1avif", "", "image/avif"},
		{"gif", tasks.MediaImage, "GIF89a\x01\x00", "", "image/gif"},
		{"mp3 with tags", tasks.MediaAudio, id3, "", "audio/mpeg"},
		{"mp3 frames", tasks.MediaAudio, mp3, "application/octet-stream", "audio/mpeg"},
		{"mp2 frames", tasks.MediaAudio, "\xff\xfd\x90\x04\x00", "", "audio/mpeg"},
		{"aac frames", tasks.MediaVoice, aac, "", "audio/aac"},
		{"wav", tasks.MediaVoice, wav, "", "audio/wave"},
		{"m4a", tasks.MediaAudio, m4a, "", "audio/mp4"},
		{"m4a of a general brand", tasks.MediaAudio, mp4, "audio/mp4", "audio/mp4"},
		{"webm with sound only", tasks.MediaAudio, webm, "audio/webm", "audio/webm"},
		{"ogg", tasks.MediaAudio, ogg, "", "audio/ogg"},
		{"flac", tasks.MediaAudio, flac, "", "audio/flac"},
		{"binary as audio", tasks.MediaAudio, binary, "audio/amr", "audio/amr"},
		{"binary of no type as audio", tasks.MediaAudio, binary, "", ""},
		{"video as audio", tasks.MediaAudio, mp4, "video/mp4", ""},
		{"jpeg as audio", tasks.MediaAudio, jpeg, "audio/mpeg", ""},
		{"html as audio", tasks.MediaVoice, html, "audio/mpeg", ""},
		{"html in UTF-16 as audio", tasks.MediaAudio, utf16, "text/html", ""},
		{"mp3 as video", tasks.MediaVideo, mp3, "video/mp4", ""},
		{"mp3 as image", tasks.MediaImage, mp3, "image/png", ""},
		{"watermarked video", tasks.MediaWatermark, mp4, "", "video/mp4"},
		{"watermarked image", tasks.MediaWatermark, png, "", "image/png"},
		{"watermarked sound", tasks.MediaWatermark, mp3, "", ""},
		{"binary of no type with a watermark", tasks.MediaWatermark, binary, "", ""},
		{"element's picture", tasks.MediaElement, webp, "", "image/webp"},
		{"element's video", tasks.MediaElement, mp4, "", "video/mp4"},
		{"element's description", tasks.MediaElement, json, "text/plain", "application/json"},
		{"html as element", tasks.MediaElement, html, "application/json", ""},
		{"json as video", tasks.MediaVideo, json, "video/mp4", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := contentType(tt.kind, []byte(tt.head), tt.declared, false)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("contentType = %q, %v, want %q", got, err, tt.want)
			}
			if _, err := contentType(tt.kind, []byte(tt.head), tt.declared, true); (tt.head == binary || tt.want == "") && err == nil {
				t.Error("accepted after a restart")
			}
			if err != nil && !strings.Contains(err.Error(), "not "+families(tt.kind)[0]) {
				t.Errorf("error %q does not say that it is not %s", err, tt.kind)
			}
		})
	}
}

func TestExtensionsFollowTheContent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind        tasks.MediaKind
		contentType string
		want        string
	}{
		{tasks.MediaVideo, "video/mp4", ".mp4"},
		{tasks.MediaVideo, "video/webm", ".webm"},
		{tasks.MediaVideo, unrecognised, ".mp4"},
		{tasks.MediaThumbnail, "image/jpeg", ".jpg"},
		{tasks.MediaThumbnail, "image/png", ".png"},
		{tasks.MediaImage, "image/x-rare", ".jpg"},
		{tasks.MediaAudio, "audio/mpeg", ".mp3"},
		{tasks.MediaAudio, "audio/wave", ".wav"},
		{tasks.MediaVoice, "audio/amr", ".mp3"},
		{tasks.MediaWatermark, "image/webp", ".webp"},
		{tasks.MediaWatermark, "video/x-rare", ".mp4"},
		{tasks.MediaElement, "application/json", ".json"},
		{tasks.MediaElement, "video/x-rare", ".mp4"},
	} {
		if got := extension(tt.kind, tt.contentType); got != tt.want {
			t.Errorf("extension(%s, %s) = %q, want %q", tt.kind, tt.contentType, got, tt.want)
		}
	}
	for _, kind := range tasks.MediaKinds() {
		if families(kind) == nil {
			t.Errorf("%s accepts no files", kind)
		}
	}
}
