package media

import (
	"fmt"
	"slices"
	"strings"

	"github.com/klinghook/klinghook/tasks"
)

// The largest files of the kinds that [Config].MaxSize does not limit. A lossless image of
// 8K and an hour of uncompressed stereo are smaller.
const (
	maxImage = 256 << 20
	maxAudio = 1 << 30
)

// families returns the types of files, up to the slash, that a file of a kind may have.
// Kling documents an element as pictures or videos of it, beside its description.
func families(kind tasks.MediaKind) []string {
	switch kind {
	case tasks.MediaVideo:
		return []string{"video"}
	case tasks.MediaImage, tasks.MediaThumbnail:
		return []string{"image"}
	case tasks.MediaAudio, tasks.MediaVoice:
		return []string{"audio"}
	case tasks.MediaWatermark:
		return []string{"video", "image"}
	case tasks.MediaElement:
		return []string{"image", "video", "JSON"}
	}
	return nil
}

// maxSize returns the largest size of a file of a kind, in bytes.
func (f *Fetcher) maxSize(kind tasks.MediaKind) int64 {
	switch kind {
	case tasks.MediaImage, tasks.MediaThumbnail:
		return maxImage
	case tasks.MediaAudio, tasks.MediaVoice:
		return maxAudio
	}
	return f.cfg.MaxSize
}

// extensions are the extensions of objects by their content's type.
var extensions = map[string]string{
	"video/mp4": ".mp4", "video/quicktime": ".mov", "video/webm": ".webm", "video/x-matroska": ".mkv", "video/avi": ".avi",
	"video/3gpp": ".3gp", "video/mp2t": ".ts",
	"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/avif": ".avif", "image/gif": ".gif",
	"image/heic": ".heic", "image/heif": ".heif", "image/bmp": ".bmp", "image/tiff": ".tiff", "image/jxl": ".jxl",
	"audio/mpeg": ".mp3", "audio/wave": ".wav", "audio/mp4": ".m4a", "audio/aac": ".aac", "audio/ogg": ".ogg",
	"audio/flac": ".flac", "audio/aiff": ".aiff", "audio/webm": ".weba",
	"application/json": ".json",
}

// extension returns the extension of an object of this type. Content that is not
// recognised has the usual extension of its kind.
func extension(kind tasks.MediaKind, contentType string) string {
	if ext := extensions[contentType]; ext != "" {
		return ext
	}
	switch family, _, _ := strings.Cut(contentType, "/"); {
	case family == "image", families(kind)[0] == "image" && family != "video":
		return ".jpg"
	case families(kind)[0] == "audio":
		return ".mp3"
	}
	return ".mp4"
}

// contentType returns the type of a file of a kind, by its first bytes, or by the
// declared Content-Type if those say nothing. The bytes win: an error page served as
// video/mp4 is not a video. After a restart only the bytes count, which may be the middle
// of a file.
func contentType(kind tasks.MediaKind, head []byte, declared string, restarted bool) (string, error) {
	declared = mediaType(declared)
	wanted := families(kind)
	sniffed := sniff(head)
	if family, _, _ := strings.Cut(sniffed, "/"); slices.Contains(wanted, family) {
		return sniffed, nil
	}
	words := strings.Join(wanted, " or ")
	switch {
	case slices.Contains(wanted, "audio") && strings.HasPrefix(declared, "audio/") && (sniffed == "video/mp4" || sniffed == "video/webm"):
		// These containers may have sound only; their first bytes do not say so.
		return "audio/" + strings.TrimPrefix(sniffed, "video/"), nil
	case slices.Contains(wanted, "JSON") && isJSON(head):
		return "application/json", nil
	case sniffed == unrecognised && restarted:
		return "", fmt.Errorf("it is unrecognised data after a restart of the download, not %s", words)
	case sniffed == unrecognised && vouches(wanted, declared):
		if declared == "" {
			return unrecognised, nil
		}
		return declared, nil
	case sniffed == unrecognised && declared != "":
		return "", fmt.Errorf("it is unrecognised data, declared as %q, not %s", declared, words)
	}
	return "", fmt.Errorf("it is %q, not %s", sniffed, words)
}

// vouches reports whether a declared type is enough for data that no signature matches.
// Not all video formats are recognised; other files must be declared.
func vouches(wanted []string, declared string) bool {
	switch declared {
	case "", unrecognised, "binary/octet-stream":
		return slices.Equal(wanted, families(tasks.MediaVideo))
	case "image/svg+xml":
		return false
	}
	family, _, _ := strings.Cut(declared, "/")
	return slices.Contains(wanted, family)
}

// isJSON reports whether a file starts as a JSON object or list.
func isJSON(head []byte) bool {
	text := strings.TrimLeft(strings.TrimPrefix(string(head), "\ufeff"), " \t\r\n")
	return strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[")
}
