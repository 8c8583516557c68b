package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/klinghook/klinghook/cmd/internal/cli"
	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

// The values of --protocol.
const (
	protocolSeed           = "seed"
	protocolOfficial       = "official"
	protocolOfficialLegacy = "official-legacy"
)

func protocolNames() []string {
	return []string{protocolSeed, protocolOfficial, protocolOfficialLegacy}
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

// delivery is a request to be. It is worded and signed when it is posted: a
// signature grows old, and many bodies at once would fill the memory.
type delivery struct {
	jobID string
	moment
	created, at time.Time
	// messageID is the sender's id of the event, in the official protocols.
	messageID string
}

// plan lays out the deliveries in lanes, which may be sent side by side: job after
// job, each in its order, or everything shuffled.
func (o *sendOptions) plan() [][]delivery {
	var lanes [][]delivery
	for i := range o.count {
		id := o.jobID
		switch {
		case id == "":
			id = "vid_" + randomID()
		case o.count > 1:
			id = fmt.Sprintf("%s-%d", id, i+1)
		}
		lanes = append(lanes, o.planJob(id))
	}
	if !o.shuffle {
		return lanes
	}
	all := slices.Concat(lanes...)
	mathrand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return slices.Collect(slices.Chunk(all, 1))
}

// planJob lays out one job's deliveries, its moments a minute apart up to now.
func (o *sendOptions) planJob(id string) []delivery {
	moments := []moment{{o.event, 50}}
	if o.lifecycle {
		moments = lifecycle(o.fail)
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	created := now.Add(-time.Duration(len(moments)) * time.Minute)
	var lane []delivery
	for i, m := range moments {
		at := now.Add(-time.Duration(len(moments)-1-i) * time.Minute)
		d := delivery{jobID: id, moment: m, created: created, at: at, messageID: "msg_" + randomID()}
		lane = append(lane, slices.Repeat([]delivery{d}, o.duplicates+1)...)
	}
	return lane
}

// deliveryWriter words and signs deliveries in one protocol.
type deliveryWriter struct {
	protocol               string
	secret                 string // empty: it does not sign
	videoURL, thumbnailURL string
	videos                 int
}

const (
	samplePrompt = "A lighthouse at dawn, slow pan over calm water"
	sampleModel  = "kling-v1.5"
	sampleError  = "the prompt was refused by the content check"
)

// write words a delivery, always alike, and signs it as of now.
func (w deliveryWriter) write(d delivery) (http.Header, []byte, error) {
	content := w.officialBody(d)
	if w.protocol == protocolSeed {
		content = w.seedBody(d)
	}
	body, err := json.Marshal(content)
	if err != nil {
		return nil, nil, fmt.Errorf("word delivery: %w", err)
	}
	header := http.Header{}
	switch {
	case w.secret == "":
	case w.protocol == protocolSeed:
		header = source.SignSeed(w.secret, body)
	default:
		if header, err = source.SignOfficial(w.secret, d.messageID, time.Now(), body); err != nil {
			return nil, nil, cli.Usagef("%w", err)
		}
	}
	header.Set("Content-Type", "application/json")
	header.Set("User-Agent", "klinghook-send")
	return header, body, nil
}

// seedBody is a body of the seed protocol.
func (w deliveryWriter) seedBody(d delivery) map[string]any {
	data := map[string]any{
		"job_id": d.jobID, "status": strings.TrimPrefix(d.eventType, "video."),
		"prompt": samplePrompt, "model": sampleModel, "created_at": d.created.Format(time.RFC3339),
	}
	switch d.eventType {
	case tasks.TypeProcessing:
		data["progress"] = d.progress
	case tasks.TypeCompleted:
		data["video_url"], data["thumbnail_url"] = w.videoURL, w.thumbnailURL
		data["duration"], data["completed_at"] = 5, d.at.Format(time.RFC3339)
	case tasks.TypeFailed:
		data["error"] = sampleError
	}
	return map[string]any{"event": d.eventType, "timestamp": d.at.Format(time.RFC3339), "data": data}
}

// officialStatus is what Kling's own callbacks call an event's type.
func officialStatus(eventType, protocol string) (string, bool) {
	status, ok := map[string]string{
		tasks.TypeCreated: "submitted", tasks.TypeProcessing: "processing", tasks.TypeCompleted: "succeeded", tasks.TypeFailed: "failed",
	}[eventType]
	if eventType == tasks.TypeCompleted && protocol == protocolOfficialLegacy {
		status = "succeed"
	}
	return status, ok
}

// officialBody is a body of Kling's own callbacks, in the new or the legacy form.
func (w deliveryWriter) officialBody(d delivery) map[string]any {
	status, _ := officialStatus(d.eventType, w.protocol)
	videos := []map[string]any{}
	if d.eventType == tasks.TypeCompleted {
		for i := range w.videos {
			videos = append(videos, map[string]any{"id": fmt.Sprintf("%s-%d", d.jobID, i+1), "url": w.videoURL, "duration": "5.1"})
		}
	}
	message := ""
	if d.eventType == tasks.TypeFailed {
		message = sampleError
	}
	if w.protocol == protocolOfficialLegacy {
		return map[string]any{
			"task_id": d.jobID, "task_status": status, "task_status_msg": message,
			"created_at": d.created.UnixMilli(), "updated_at": d.at.UnixMilli(), "final_unit_deduction": "1",
			"task_info":   map[string]any{"external_task_id": ""},
			"task_result": map[string]any{"images": []any{}, "videos": videos},
		}
	}
	for _, v := range videos {
		v["type"], v["watermark_url"] = "video", ""
	}
	return map[string]any{
		"id": d.jobID, "status": status, "message": message,
		"create_time": d.created.UnixMilli(), "update_time": d.at.UnixMilli(), "external_id": "",
		"outputs": videos, "billing": []any{},
	}
}

// randomID is short and of lower-case letters and digits.
func randomID() string { return strings.ToLower(rand.Text()[:12]) }
