package source

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/klinghook/klinghook/tasks"
)

const (
	// CallbackName is the name of the protocol of unsigned callbacks.
	CallbackName = "klingai-unsigned"
	// TypeCallback is the type of every event that an unsigned callback makes.
	TypeCallback = "callback"
)

// CallbackProtocol is the protocol of callbacks from accounts without a webhook
// secret. They are posted to a URL that ends in a token; the endpoint checks the
// token. It is not in [Protocols], because its bodies cannot be verified.
func CallbackProtocol() Protocol {
	return Protocol{
		Name:          CallbackName,
		Platform:      tasks.PlatformKling,
		Path:          "/webhooks/klingai/t/:token",
		SecretSetting: "KLINGHOOK_CALLBACK_TOKEN",
		New:           func([]string) (Source, error) { return unsignedSource{}, nil },
	}
}

// unsignedSource reads only which job a callback is about and which of Kling's APIs
// has it. The worker then asks Kling.
type unsignedSource struct{}

// Verify accepts any body; it is only a hint to query Kling.
func (unsignedSource) Verify(http.Header, []byte, time.Time) (string, error) { return "", nil }

// Identify returns one event per job, which keeps only the job's id.
func (unsignedSource) Identify(_ http.Header, body []byte) (Identity, error) {
	task, err := ReadTask(body)
	if err != nil {
		return Identity{}, err
	}
	kept := map[string]string{"status": "unverified"}
	if task.API != tasks.APILegacy {
		kept["id"] = task.ID
	}
	if task.API != tasks.APITasks {
		kept["task_id"] = task.ID
	}
	hint, err := json.Marshal(kept)
	return Identity{SenderID: task.ID, Type: TypeCallback, JobID: task.ID, Hint: string(hint)}, err
}

func (unsignedSource) Update(event tasks.Event) (*tasks.JobUpdate, error) {
	task, err := ReadTask(event.Body)
	if err != nil {
		return nil, tasks.Permanent(err)
	}
	return &tasks.JobUpdate{Job: tasks.KlingJob(task.ID), EventID: event.ID, Unproven: true, API: task.API}, nil
}
