package source

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

// Output is one result of a job.
type Output struct {
	// Type is the kind of result; empty if klinghook does not know it.
	Type tasks.MediaKind
	// ID is Kling's id of the result. A voice or an element may have nothing else.
	ID string
	// URL is a signed link that expires, like the other two: do not log it. For audio it
	// leads to the MP3 file.
	URL string
	// WatermarkURL leads to a watermarked copy of a video or image, WAVURL to a WAV file of
	// audio.
	WatermarkURL, WAVURL string
	// Duration is the length of a video or an audio.
	Duration time.Duration
}

// resultLists are the lists of a legacy task's results.
var resultLists = []struct {
	key  string
	kind tasks.MediaKind
}{
	{"videos", tasks.MediaVideo}, {"images", tasks.MediaImage}, {"audios", tasks.MediaAudio}, {"voices", tasks.MediaVoice}, {"elements", tasks.MediaElement},
}

// readOutputs returns the results of a task of either form, and why a result has no file.
func readOutputs(body Object) (outputs []Output, missing string) {
	key, result := "outputs", body.Value("outputs")
	for i, value := range Elements(result) {
		output, problem := readOutput(ParseObject(value), "")
		outputs, missing = append(outputs, output), cmp.Or(missing, prefixed(fmt.Sprintf("output %d", i+1), problem))
	}
	if len(outputs) == 0 && body.Value("task_result") != nil || body.Value("task_id") != nil && result == nil {
		key, result = "task_result", body.Value("task_result")
		for _, list := range resultLists {
			for i, value := range Elements(ParseObject(result).Value(list.key)) {
				output, problem := readOutput(ParseObject(value), list.kind)
				outputs, missing = append(outputs, output), cmp.Or(missing, prefixed(fmt.Sprintf("result %d", i+1), problem))
			}
		}
	}
	switch {
	case len(outputs) > 0:
		return outputs, missing
	case result == nil:
		return nil, fmt.Sprintf("%q is missing", key)
	case result[0] != '{' && result[0] != '[':
		return nil, fmt.Sprintf("%q is %s", key, typeName(result))
	}
	return nil, fmt.Sprintf("%q is empty", key)
}

func prefixed(before, problem string) string {
	if problem == "" {
		return ""
	}
	return before + " " + problem
}

// readOutput reads a result and returns why it has no file. kind is set if the list names it.
func readOutput(o Object, kind tasks.MediaKind) (output Output, problem string) {
	if o == nil {
		return Output{}, "is not an object"
	}
	link := func(keys ...string) (url string) {
		for _, key := range keys {
			url = cmp.Or(url, strings.TrimSpace(o.Text(key)))
		}
		return url
	}
	output = Output{
		Type: kind, ID: withoutNUL(cmp.Or(o.Scalar("id"), o.Scalar("voice_id"), o.Scalar("element_id"))),
		URL: link("url"), Duration: o.Seconds("duration"),
	}
	mp3, wav := link("mp3_url", "url_mp3"), link("wav_url", "url_wav")
	if kind == "" {
		output.Type, problem = kindOf(o, mp3+wav != "")
	}
	switch output.Type {
	case tasks.MediaVideo, tasks.MediaImage:
		output.WatermarkURL = link("watermark_url")
	case tasks.MediaAudio:
		output.URL, output.WAVURL = cmp.Or(mp3, output.URL), wav
	case tasks.MediaVoice:
		output.URL = cmp.Or(output.URL, link("trial_url"), mp3, wav)
	}
	needless := output.ID != "" && (output.Type == tasks.MediaVoice || output.Type == tasks.MediaElement)
	if problem == "" && output.URL == "" && output.WAVURL == "" && !needless {
		problem = fmt.Sprintf("(%s) has no link", output.Type)
	}
	return output, problem
}

// kindOf returns the kind of a result by its type: a word in any case, or a MIME type. A
// result without a type is a video, unless it has the links of an audio.
func kindOf(o Object, audio bool) (kind tasks.MediaKind, problem string) {
	word := strings.TrimSpace(o.Text("type"))
	main, _, _ := strings.Cut(strings.ToLower(word), "/")
	switch kind := tasks.MediaKind(main); kind {
	case tasks.MediaVideo, tasks.MediaImage, tasks.MediaAudio, tasks.MediaVoice, tasks.MediaElement:
		return kind, ""
	case "":
		if audio {
			return tasks.MediaAudio, ""
		}
		return tasks.MediaVideo, ""
	}
	return "", fmt.Sprintf("has the unknown type %.40q", word)
}

// Links returns the links to the files of a job's outputs. Outputs without a link are
// numbered too, so that names stay the same in later events.
func Links(outputs []Output) (links []tasks.MediaLink) {
	count := make(map[tasks.MediaKind]int)
	for _, output := range outputs {
		n := count[output.Type]
		count[output.Type]++
		add := func(url string, form ...string) {
			if url != "" && output.Type != "" {
				links = append(links, tasks.MediaLink{Name: tasks.MediaName(output.Type, n, form...), URL: url})
			}
		}
		add(output.URL)
		add(output.WatermarkURL, tasks.FormWatermark)
		add(output.WAVURL, tasks.FormWAV)
	}
	return links
}

// duration returns the length of the first video or audio.
func (t KlingTask) duration() time.Duration {
	for _, output := range t.Outputs {
		if output.Type == tasks.MediaVideo || output.Type == tasks.MediaAudio {
			return output.Duration
		}
	}
	return 0
}
