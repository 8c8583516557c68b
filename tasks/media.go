package tasks

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MediaKind is the kind of a job's file. It decides how the file is checked, how large it
// may be, and whether it is stored.
type MediaKind string

// The kinds of media.
const (
	MediaVideo MediaKind = "video"
	MediaImage MediaKind = "image"
	MediaAudio MediaKind = "audio"
	// MediaVoice is a sample of a custom voice.
	MediaVoice MediaKind = "voice"
	// MediaElement shows or describes a custom element: an image, a video or JSON.
	MediaElement MediaKind = "element"
	// MediaThumbnail is a video's poster.
	MediaThumbnail MediaKind = "thumbnail"
	// MediaWatermark is a copy with Kling's watermark of a video or image.
	MediaWatermark MediaKind = "watermark"
)

// MediaKinds returns all kinds of media.
func MediaKinds() []MediaKind {
	return []MediaKind{MediaVideo, MediaImage, MediaAudio, MediaVoice, MediaElement, MediaThumbnail, MediaWatermark}
}

// The forms of a file that have their own names.
const (
	FormWAV       = "wav"
	FormWatermark = string(MediaWatermark)
)

// MediaName returns the name of a job's i-th file of a kind, from 0: "video", "video-2".
// The name of another form of the file contains the form: "audio-wav", "video-watermark-2".
func MediaName(kind MediaKind, i int, form ...string) string {
	parts := append([]string{string(kind)}, form...)
	if i > 0 {
		parts = append(parts, strconv.Itoa(i+1))
	}
	return strings.Join(parts, "-")
}

// mediaName matches what [MediaName] returns.
var mediaName = regexp.MustCompile(`^([a-z]+)(?:-([a-z]+))?(?:-[0-9]+)?$`)

// KindOfMedia returns the kind of the file with this name; empty if no file has it.
func KindOfMedia(name string) MediaKind {
	parts := mediaName.FindStringSubmatch(name)
	if len(parts) == 0 || !slices.Contains(MediaKinds(), MediaKind(parts[1])) || parts[1] == FormWatermark {
		return ""
	}
	if parts[2] == FormWatermark {
		return MediaWatermark
	}
	return MediaKind(parts[1])
}
