package kling

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

// Kind is where Kling keeps a job: KindTasks, or a path of the legacy API below
// /v1/videos.
type Kind string

// The kinds that Kling documents. Others work too, written as in the path.
const (
	// KindTasks is the new API, for any model.
	KindTasks Kind = "tasks"

	KindText2Video       Kind = "text2video"
	KindImage2Video      Kind = "image2video"
	KindOmniVideo        Kind = "omni-video"
	KindMotionControl    Kind = "motion-control"
	KindMultiImage2Video Kind = "multi-image2video"
	KindMultiElements    Kind = "multi-elements"
	KindVideoExtend      Kind = "video-extend"
	KindAvatar           Kind = "avatar/image2video"
	KindLipSync          Kind = "lip-sync"
	KindAdvancedLipSync  Kind = "advanced-lip-sync"
	KindEffects          Kind = "effects"
)

// Kinds returns the documented kinds, the most used first.
func Kinds() []Kind {
	return []Kind{
		KindTasks, KindText2Video, KindImage2Video, KindOmniVideo, KindMotionControl, KindMultiImage2Video,
		KindVideoExtend, KindMultiElements, KindAvatar, KindLipSync, KindAdvancedLipSync, KindEffects,
	}
}

var kindPath = regexp.MustCompile(`^[a-z0-9_-]+(/[a-z0-9_-]+)?$`)

func (k Kind) legacyPath() (string, error) {
	if !kindPath.MatchString(string(k)) {
		return "", fmt.Errorf("%w: %q is not a kind of job", ErrInvalid, quote(string(k)))
	}
	return "/v1/videos/" + string(k), nil
}

// Job is the answer to a look-up. Only ID, Kind, KlingStatus and Raw are always set.
type Job struct {
	// ID is Kling's id of the job, ExternalID the one that its creator chose.
	ID, ExternalID string
	// Kind is where the job was found: pass it first next time.
	Kind Kind
	// Status is empty for a status that klinghook does not know.
	Status tasks.Status
	// KlingStatus is Kling's word for the status, such as "succeed".
	KlingStatus string
	// CreatedAt and UpdatedAt are Kling's times, in UTC.
	CreatedAt, UpdatedAt time.Time
	// Outputs are the job's files, in Kling's order.
	Outputs []Output
	// Raw is the job's JSON object, byte for byte as received.
	Raw json.RawMessage
}

// Output is one file of a job.
type Output = source.Output

// OutputVideo is the type of videos.
const OutputVideo = tasks.MediaVideo

func readJob(kind Kind, raw json.RawMessage) (Job, error) {
	task, err := source.ReadTask(raw)
	if err != nil {
		return Job{}, err
	}
	return Job{
		ID: task.ID, ExternalID: task.ExternalID, Kind: kind, Status: task.JobStatus(), KlingStatus: task.Status,
		CreatedAt: task.CreatedAt, UpdatedAt: task.UpdatedAt, Outputs: task.Outputs, Raw: raw,
	}, nil
}

// readJobs reads the data of an answer: a job, a list of jobs, or a page with a list.
// It returns the readable jobs, and an ErrUnreadable for each of the others.
func readJobs(kind Kind, data json.RawMessage) ([]Job, error) {
	if page := source.ParseObject(data); page.Value("id") == nil && page.Value("task_id") == nil {
		if result, isPage := page["result"]; isPage {
			data = result
		}
	}
	list := source.Elements(data)
	if list == nil && len(data) > 0 && string(data) != "null" {
		return nil, fmt.Errorf("%w: it has no jobs; check that this is Kling's API", ErrUnreadable)
	}
	var jobs []Job
	var problems []error
	for i, raw := range list {
		job, err := readJob(kind, raw)
		if err != nil {
			problems = append(problems, fmt.Errorf("%w: job %d: %w", ErrUnreadable, i+1, err))
			continue
		}
		jobs = append(jobs, job)
	}
	return jobs, errors.Join(problems...)
}
