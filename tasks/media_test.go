package tasks_test

import (
	"testing"

	"github.com/klinghook/klinghook/tasks"
)

func TestMediaNames(t *testing.T) {
	for _, tt := range []struct {
		kind tasks.MediaKind
		i    int
		form []string
		want string
		is   tasks.MediaKind
	}{
		{tasks.MediaVideo, 0, nil, "video", tasks.MediaVideo},
		{tasks.MediaVideo, 1, nil, "video-2", tasks.MediaVideo},
		{tasks.MediaVideo, 0, []string{tasks.FormWatermark}, "video-watermark", tasks.MediaWatermark},
		{tasks.MediaVideo, 9, []string{tasks.FormWatermark}, "video-watermark-10", tasks.MediaWatermark},
		{tasks.MediaImage, 0, []string{tasks.FormWatermark}, "image-watermark", tasks.MediaWatermark},
		{tasks.MediaImage, 2, nil, "image-3", tasks.MediaImage},
		{tasks.MediaAudio, 0, []string{tasks.FormWAV}, "audio-wav", tasks.MediaAudio},
		{tasks.MediaAudio, 1, []string{tasks.FormWAV}, "audio-wav-2", tasks.MediaAudio},
		{tasks.MediaVoice, 0, nil, "voice", tasks.MediaVoice},
		{tasks.MediaElement, 0, nil, "element", tasks.MediaElement},
		{tasks.MediaThumbnail, 0, nil, "thumbnail", tasks.MediaThumbnail},
	} {
		got := tasks.MediaName(tt.kind, tt.i, tt.form...)
		if kind := tasks.KindOfMedia(got); got != tt.want || kind != tt.is {
			t.Errorf("MediaName(%s, %d, %q) = %q of kind %q, want %q of kind %q", tt.kind, tt.i, tt.form, got, kind, tt.want, tt.is)
		}
	}
	for _, name := range []string{"", "watermark", "movie", "video/2", "../video", "video-2-3", "VIDEO"} {
		if kind := tasks.KindOfMedia(name); kind != "" {
			t.Errorf("%q is of kind %q", name, kind)
		}
	}
}
