package tasks_test

import (
	"testing"

	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestJobKeyNames(t *testing.T) {
	tests := []struct {
		name         string
		key          tasks.JobKey
		text, safeID string
	}{
		{"Kling", tasks.KlingJob("vid_1"), "vid_1", "vid_1"},
		{"path at Kling", tasks.KlingJob("fal/vid_1"), "fal/vid_1", "fal~2fvid_1"},
		{"the other's name at Kling", tasks.KlingJob("fal=vid_1"), "fal=vid_1", "fal~3dvid_1"},
		{"another platform", tasks.JobKey{Platform: "fal", ID: "vid_1"}, "fal/vid_1", "fal=vid_1"},
		{"path at another platform", tasks.JobKey{Platform: "a/b", ID: "../c"}, "a/b/../c", "a~2fb=~2e.~2fc"},
		{"no job", tasks.JobKey{Platform: "fal"}, "", "fal="},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if text, safeID := tt.key.String(), tt.key.SafeID(); text != tt.text || safeID != tt.safeID {
				t.Errorf("name %q, safe id %q; want %q, %q", text, safeID, tt.text, tt.safeID)
			}
		})
	}
}

func TestPlatformsDoNotShareTaskIDs(t *testing.T) {
	for _, pair := range [][2]tasks.JobKey{
		{tasks.KlingJob("vid_1"), {Platform: "fal", ID: "vid_1"}},
		{tasks.KlingJob("fal=vid_1"), {Platform: "fal", ID: "vid_1"}},
		{{Platform: "fal", ID: "a=b"}, {Platform: "fal=a", ID: "b"}},
	} {
		one, err := tasks.DownloadMedia(pair[0], "video", "https://cdn.example/v.mp4")
		testenv.NoError(t, err)
		other, err := tasks.DownloadMedia(pair[1], "video", "https://cdn.example/v.mp4")
		testenv.NoError(t, err)
		if one.ID == other.ID {
			t.Errorf("%v and %v share the task id %s", pair[0], pair[1], one.ID)
		}
	}
}
