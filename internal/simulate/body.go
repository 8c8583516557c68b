package simulate

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	failure      = "the prompt was refused by the content check"
	cancellation = "the task was cancelled"
)

// view is a job as it is told of: where it stands, and the links to give.
type view struct {
	*job
	moment
	// link returns the link to a file of the job's.
	link func(file string) string
}

// body words a callback; always alike, however often it is sent.
func (cb *callback) body(l links) ([]byte, error) {
	v := view{cb.job, cb.moment, func(file string) string { return l.make(cb.job, file, byCallback, cb.job.end().at) }}
	var content any
	switch cb.receiver.protocol {
	case Seed:
		content = v.seed()
	case OfficialLegacy:
		content = v.drifted(v.legacy())
	default:
		content = v.drifted(v.official())
	}
	body, err := encode(content)
	if err != nil {
		return nil, fmt.Errorf("word callback: %w", err)
	}
	return body, nil
}

// seedEvent is what the seed protocol calls the change to a status.
func seedEvent(s status) string {
	switch s {
	case submitted:
		return "video.created"
	case succeeded:
		return "video.completed"
	}
	return "video." + string(s)
}

// seed is a body of the seed protocol.
func (v view) seed() map[string]any {
	event := seedEvent(v.status)
	data := map[string]any{
		"job_id": v.id, "status": strings.TrimPrefix(event, "video."),
		"prompt": v.prompt, "model": v.model, "created_at": v.created().Format(time.RFC3339),
	}
	switch v.status {
	case processing:
		data["progress"] = v.progress
	case succeeded:
		data["video_url"], data["thumbnail_url"] = v.link(videoFile), v.link(thumbnailFile)
		data["duration"], data["completed_at"] = v.seconds, v.at.Format(time.RFC3339)
	case failed:
		data["error"] = failure
	}
	return map[string]any{"event": event, "timestamp": v.at.Format(time.RFC3339), "data": data}
}

// message says why a job did not succeed.
func (v view) message() string {
	switch v.status {
	case failed:
		return failure
	case cancelled:
		return cancellation
	}
	return ""
}

// officialStatus is the status as Kling's own bodies have it, success being said
// in either of two words.
func (v view) officialStatus(success string) string {
	switch v.status {
	case succeeded:
		return success
	case cancelled:
		return string(failed)
	}
	return string(v.status)
}

// videos are the job's videos, without what only one of the forms has.
func (v view) videos() []map[string]any {
	if v.status != succeeded {
		return []map[string]any{}
	}
	return []map[string]any{{"id": v.id + "-1", "url": v.link(videoFile), "duration": fmt.Sprintf("%d.1", v.seconds)}}
}

// legacy is the legacy form, of callbacks and look-ups alike.
func (v view) legacy() map[string]any {
	task := v.legacyReceipt()
	task["task_status_msg"] = v.message()
	task["final_unit_deduction"] = "1"
	task["task_result"] = map[string]any{"images": []any{}, "videos": v.videos()}
	return task
}

// legacyReceipt is what the creation of a job is answered with, in the legacy
// form.
func (v view) legacyReceipt() map[string]any {
	return map[string]any{
		"task_id": v.id, "task_status": v.officialStatus(v.success("succeed", "succeeded")),
		"created_at": v.created().UnixMilli(), "updated_at": v.at.UnixMilli(),
		"task_info": map[string]any{"external_task_id": v.externalID},
	}
}

// official is the new form, of callbacks and look-ups alike.
func (v view) official() map[string]any {
	outputs := v.videos()
	for _, video := range outputs {
		video["type"], video["watermark_url"] = "video", ""
	}
	billing := []any{}
	if len(outputs) > 0 {
		billing = append(billing, map[string]any{"charge_type": "unit", "amount": "1", "package_type": "video"})
	}
	task := v.officialReceipt()
	task["outputs"], task["billing"] = outputs, billing
	return task
}

// officialReceipt is what the creation of a job is answered with, in the new form.
func (v view) officialReceipt() map[string]any {
	return map[string]any{
		"id": v.id, "status": v.officialStatus(v.success("succeeded", "succeed")), "message": v.message(),
		"create_time": v.created().UnixMilli(), "update_time": v.at.UnixMilli(), "external_id": v.externalID,
	}
}

// success is the word for it: the form's own, or that of the other.
func (v view) success(own, other string) string {
	if v.fate.drift.status {
		return other
	}
	return own
}

// drifted writes the numbers of a body as strings where the job's drift is so.
func (v view) drifted(body map[string]any) map[string]any {
	if !v.fate.drift.numbers {
		return body
	}
	for key, value := range body {
		if number, ok := value.(int64); ok {
			body[key] = strconv.FormatInt(number, 10)
		}
	}
	return body
}
