package kling

import (
	"fmt"
	"regexp"
)

// Kind is where Kling keeps a job: KindTasks, or a path of the legacy API below
// /v1/videos. A legacy job is found only under the kind by which it was created.
type Kind string

// The kinds that Kling documents. Another may be used as it stands in Kling's path.
const (
	// KindTasks is the new API, whatever the model.
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

// Kinds returns the documented kinds, what is used most first.
func Kinds() []Kind {
	return []Kind{
		KindTasks, KindText2Video, KindImage2Video, KindOmniVideo, KindMotionControl, KindMultiImage2Video,
		KindVideoExtend, KindMultiElements, KindAvatar, KindLipSync, KindAdvancedLipSync, KindEffects,
	}
}

// legacyPath returns the path of a legacy kind.
func (k Kind) legacyPath() (string, error) {
	if k == KindTasks {
		return "", fmt.Errorf("%w: %q is not a kind of the legacy API", ErrInvalid, k)
	}
	if ok, _ := regexp.MatchString(`^[a-z0-9_-]+(/[a-z0-9_-]+)?$`, string(k)); !ok {
		return "", fmt.Errorf("%w: %q is no kind of job; see Kinds", ErrInvalid, quote(string(k)))
	}
	return "/v1/videos/" + string(k), nil
}
