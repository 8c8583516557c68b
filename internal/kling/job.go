package kling

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/klinghook/klinghook/internal/source"
	"github.com/klinghook/klinghook/tasks"
)

// JobKind is where Kling keeps a job: KindTasks, or a path of the legacy API, relative to
// /v1/videos ("text2video") or else to /v1 ("images/generations").
type JobKind string

// The kinds that Kling documents. Others work too, written as in the path. The paths of
// images, audio, voices and elements are from Kling's API reference as of 2026 (Image
// Omni, Image Generation, Reference to Image, Extend Image, AI Multi-Shot, Virtual Try-On,
// Text to Audio, Video to Audio, Voice Clone, Element). Text to Speech answers at once and
// has no look-up.
const (
	// KindTasks is the new API, for any model.
	KindTasks JobKind = "tasks"

	KindText2Video       JobKind = "text2video"
	KindImage2Video      JobKind = "image2video"
	KindOmniVideo        JobKind = "omni-video"
	KindMotionControl    JobKind = "motion-control"
	KindMultiImage2Video JobKind = "multi-image2video"
	KindMultiElements    JobKind = "multi-elements"
	KindVideoExtend      JobKind = "video-extend"
	KindAvatar           JobKind = "avatar/image2video"
	KindLipSync          JobKind = "lip-sync"
	KindAdvancedLipSync  JobKind = "advanced-lip-sync"
	KindEffects          JobKind = "effects"

	KindImages           JobKind = "images/generations"
	KindOmniImage        JobKind = "images/omni-image"
	KindMultiImage2Image JobKind = "images/multi-image2image"
	KindImageExpand      JobKind = "images/editing/expand"
	KindVirtualTryOn     JobKind = "images/kolors-virtual-try-on"
	KindMultiShot        JobKind = "general/ai-multi-shot"
	KindText2Audio       JobKind = "audio/text-to-audio"
	KindVideo2Audio      JobKind = "audio/video-to-audio"
	KindVoice            JobKind = "general/custom-voices"
	KindElement          JobKind = "general/advanced-custom-elements"
)

// Kinds returns the documented kinds, most used first.
func Kinds() []JobKind {
	return []JobKind{
		KindTasks, KindText2Video, KindImage2Video, KindOmniVideo, KindMotionControl, KindMultiImage2Video,
		KindVideoExtend, KindMultiElements, KindAvatar, KindLipSync, KindAdvancedLipSync, KindEffects,
		KindImages, KindOmniImage, KindMultiImage2Image, KindVirtualTryOn, KindImageExpand, KindMultiShot,
		KindText2Audio, KindVideo2Audio, KindVoice, KindElement,
	}
}

var kindPath = regexp.MustCompile(`^[a-z0-9_-]+(/[a-z0-9_-]+){0,2}$`)

func (k JobKind) legacyPath() (string, error) {
	if !kindPath.MatchString(string(k)) {
		return "", fmt.Errorf("%w: %q is not a kind of job", ErrInvalid, quote(string(k)))
	}
	switch room, _, _ := strings.Cut(string(k), "/"); room {
	case "images", "audio", "general":
		return "/v1/" + string(k), nil
	}
	return "/v1/videos/" + string(k), nil
}

// Answer is the answer to a look-up. Only ID, Kind, KlingStatus and Raw are always set.
type Answer struct {
	// ID is Kling's id of the job, ExternalID the one that its creator chose.
	ID, ExternalID string
	// Kind is where the job was found: pass it first next time.
	Kind JobKind
	// Status is empty for a status that klinghook does not know.
	Status tasks.Status
	// KlingStatus is Kling's word for the status, such as "succeed".
	KlingStatus string
	// CreatedAt and UpdatedAt are Kling's times, in UTC.
	CreatedAt, UpdatedAt time.Time
	// Outputs are the job's files, in Kling's order.
	Outputs []source.Output
	// Missing is why an output has no file; empty if all have theirs.
	Missing string
	// Raw is the job's JSON object, byte for byte as received.
	Raw json.RawMessage
}

func readJob(kind JobKind, raw json.RawMessage) (Answer, error) {
	task, err := source.ReadTask(raw)
	if err != nil {
		return Answer{}, err
	}
	return Answer{
		ID: task.ID, ExternalID: task.ExternalID, Kind: kind, Status: task.JobStatus(), KlingStatus: task.Status,
		CreatedAt: task.CreatedAt, UpdatedAt: task.UpdatedAt, Outputs: task.Outputs, Missing: task.Missing, Raw: raw,
	}, nil
}

// readJobs reads the data of an answer: a job, a list of jobs, or a page with a list.
// It returns the readable jobs, and an ErrUnreadable for each of the others.
func readJobs(kind JobKind, data json.RawMessage) ([]Answer, error) {
	list, ok := source.Tasks(data)
	if !ok {
		return nil, fmt.Errorf("%w: it has no jobs; check that this is Kling's API", ErrUnreadable)
	}
	var jobs []Answer
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
