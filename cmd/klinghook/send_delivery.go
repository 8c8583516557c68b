package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/source"
	"github.com/klinghook/klinghook/tasks"
)

// The values of --protocol.
const (
	protocolSeed           = "seed"
	protocolOfficial       = "official"
	protocolOfficialLegacy = "official-legacy"
)

// delivery is one signed request, ready to be posted any number of times.
type delivery struct {
	jobID, eventType string
	header           http.Header
	body             []byte
}

// moment is a point in a job's life.
type moment struct {
	eventType string
	progress  int
}

// lifecycle returns the moments of a job from its beginning to its end.
func lifecycle(fail bool) []moment {
	end := tasks.TypeCompleted
	if fail {
		end = tasks.TypeFailed
	}
	return []moment{{tasks.TypeCreated, 0}, {tasks.TypeProcessing, 25}, {tasks.TypeProcessing, 75}, {end, 100}}
}

// deliveryWriter words and signs deliveries in one protocol.
type deliveryWriter struct {
	protocol               string
	secret                 string
	unsigned               bool
	videoURL, thumbnailURL string
	videos                 int
}

const (
	samplePrompt = "A lighthouse at dawn, slow pan over calm water"
	sampleModel  = "kling-v1.5"
	sampleError  = "the prompt was refused by the content check"
)

// deliveries words a job's moments, a minute apart up to now.
func (w deliveryWriter) deliveries(jobID string, moments []moment) ([]delivery, error) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	created := now.Add(-time.Duration(len(moments)) * time.Minute)
	var list []delivery
	for i, m := range moments {
		at := now.Add(-time.Duration(len(moments)-1-i) * time.Minute)
		d, err := w.delivery(jobID, m, created, at)
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

func (w deliveryWriter) delivery(jobID string, m moment, created, at time.Time) (delivery, error) {
	var content map[string]any
	if w.protocol == protocolSeed {
		content = w.seedBody(jobID, m, created, at)
	} else {
		status, ok := officialStatus(m.eventType, w.protocol)
		if !ok {
			return delivery{}, cli.Usagef("the official protocols have no %q; they have created, processing, completed and failed", m.eventType)
		}
		content = w.officialBody(jobID, status, created, at)
	}
	body, err := json.Marshal(content)
	if err != nil {
		return delivery{}, fmt.Errorf("word delivery: %w", err)
	}
	header, err := w.sign(body)
	if err != nil {
		return delivery{}, err
	}
	header.Set("Content-Type", "application/json")
	return delivery{jobID: jobID, eventType: m.eventType, header: header, body: body}, nil
}

func (w deliveryWriter) sign(body []byte) (http.Header, error) {
	switch {
	case w.unsigned:
		return http.Header{}, nil
	case w.protocol == protocolSeed:
		return source.SignSeed(w.secret, body), nil
	}
	header, err := source.SignOfficial(w.secret, "msg_"+randomID(), time.Now(), body)
	if err != nil {
		return nil, cli.Usagef("sign delivery: %w", err)
	}
	return header, nil
}

// seedBody is a body of the seed protocol.
func (w deliveryWriter) seedBody(jobID string, m moment, created, at time.Time) map[string]any {
	data := map[string]any{
		"job_id": jobID, "status": strings.TrimPrefix(m.eventType, "video."),
		"prompt": samplePrompt, "model": sampleModel, "created_at": created.Format(time.RFC3339),
	}
	switch m.eventType {
	case tasks.TypeProcessing:
		data["progress"] = m.progress
	case tasks.TypeCompleted:
		data["video_url"], data["thumbnail_url"] = w.videoURL, w.thumbnailURL
		data["duration"], data["completed_at"] = 5, at.Format(time.RFC3339)
	case tasks.TypeFailed:
		data["error"] = sampleError
	}
	return map[string]any{"event": m.eventType, "timestamp": at.Format(time.RFC3339), "data": data}
}

// officialStatus is what Kling's own callbacks call an event's type.
func officialStatus(eventType, protocol string) (string, bool) {
	status, ok := map[string]string{
		tasks.TypeCreated: "submitted", tasks.TypeProcessing: "processing", tasks.TypeCompleted: "succeeded", tasks.TypeFailed: "failed",
	}[eventType]
	if status == "succeeded" && protocol == protocolOfficialLegacy {
		status = "succeed"
	}
	return status, ok
}

// officialBody is a body of Kling's own callbacks, in the new or the legacy form.
func (w deliveryWriter) officialBody(jobID, status string, created, at time.Time) map[string]any {
	var videos []map[string]any
	if strings.HasPrefix(status, "succe") {
		for i := range w.videos {
			videos = append(videos, map[string]any{"id": fmt.Sprintf("%s-%d", jobID, i+1), "url": w.videoURL, "duration": "5.1"})
		}
	}
	message := ""
	if status == "failed" {
		message = sampleError
	}
	if w.protocol == protocolOfficialLegacy {
		return map[string]any{
			"task_id": jobID, "task_status": status, "task_status_msg": message,
			"created_at": created.UnixMilli(), "updated_at": at.UnixMilli(), "final_unit_deduction": "1",
			"task_info":   map[string]any{"external_task_id": ""},
			"task_result": map[string]any{"images": []any{}, "videos": videos},
		}
	}
	for _, v := range videos {
		v["type"], v["watermark_url"] = "video", ""
	}
	return map[string]any{
		"id": jobID, "status": status, "message": message,
		"create_time": created.UnixMilli(), "update_time": at.UnixMilli(), "external_id": "",
		"outputs": videos, "billing": []any{},
	}
}

// randomID is short and of lower-case letters and digits.
func randomID() string { return strings.ToLower(rand.Text()[:12]) }
