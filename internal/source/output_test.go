package source_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/internal/testenv"
	"github.com/klinghook/klinghook/tasks"
)

func TestOutputsOfEveryKind(t *testing.T) {
	links := func(namesAndURLs ...string) (list []tasks.MediaLink) {
		for i := 0; i < len(namesAndURLs); i += 2 {
			list = append(list, tasks.MediaLink{Name: namesAndURLs[i], URL: namesAndURLs[i+1]})
		}
		return list
	}
	tests := []struct {
		name, outputs string
		want          []tasks.MediaLink
		missing       string
	}{
		{"video", `[{"type":"Video","url":" a ","watermark_url":"b"}]`, links("video", "a", "video-watermark", "b"), ""},
		{"MIME types", `[{"type":"video/mp4","url":"a"},{"type":"IMAGE/PNG","url":"b"}]`, links("video", "a", "image", "b"), ""},
		{"images", `[{"type":"image","url":"a"},{"type":"image","url":"b","watermark_url":"c"}]`, links("image", "a", "image-2", "b", "image-watermark-2", "c"), ""},
		{"audio", `[{"type":"audio","mp3_url":"a","wav_url":"b"},{"wav_url":"c"}]`, links("audio", "a", "audio-wav", "b", "audio-wav-2", "c"), ""},
		{"voice and element with an id only", `[{"type":"voice","id":7},{"type":"element","element_id":"e"}]`, nil, ""},
		{"voice and element with a link", `[{"type":"voice","trial_url":"a"},{"type":"element","id":"e","url":"b"}]`, links("voice", "a", "element", "b"), ""},
		{"voice without anything", `[{"type":"voice"}]`, nil, "output 1 (voice) has no link"},
		{"watermark only", `[{"url":null,"watermark_url":"b"}]`, links("video-watermark", "b"), "output 1 (video) has no link"},
		{"unknown type beside a video", `[{"type":"video","url":"a"},{"type":"hologram","url":"b"}]`, links("video", "a"), `output 2 has the unknown type "hologram"`},
		{"link of another type", `[{"type":"video","url":{"href":"a"}}]`, nil, "output 1 (video) has no link"},
		{"none", `[]`, nil, `"outputs" is empty`},
		{"null", `null`, nil, `"outputs" is missing`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantLinks(t, `{"id":"1","status":"succeeded","outputs":`+tt.outputs+`}`, tt.want, tt.missing)
		})
	}
	for result, want := range map[string]struct {
		links   []tasks.MediaLink
		missing string
	}{
		`{"videos":[],"images":[{"index":0,"url":"a"},{"index":1,"url":""}]}`: {links("image", "a"), "result 2 (image) has no link"},
		`{"audios":[{"id":"1","url_mp3":"a","url_wav":"b"}]}`:                 {links("audio", "a", "audio-wav", "b"), ""},
		`{"voices":[{"voice_id":"1"}],"elements":[{"element_id":2}]}`:         {nil, ""},
		`"{\"videos\":[]}"`: {nil, `"task_result" is a string`},
		`{}`:                {nil, `"task_result" is empty`},
		`null`:              {nil, `"task_result" is missing`},
	} {
		wantLinks(t, `{"task_id":"1","task_status":"succeed","task_result":`+result+`}`, want.links, want.missing)
	}
}

func wantLinks(t *testing.T, body string, want []tasks.MediaLink, missing string) {
	t.Helper()
	task, err := source.ReadTask([]byte(body))
	testenv.NoError(t, err)
	if diff := cmp.Diff(want, source.Links(task.Outputs)); diff != "" || task.Missing != missing {
		t.Errorf("%s: missing %q, want %q (-want +got)\n%s", body, task.Missing, missing, diff)
	}
}
