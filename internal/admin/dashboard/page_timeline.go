package dashboard

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// moment is an entry of a job's timeline.
type moment struct {
	// At is when it happened, or ended; of a look-up when it began, because the event that it
	// found comes after it.
	At time.Time
	// State is the CSS class for its colour. Title says what happened; Text is an error or
	// an answer.
	State, Title, Text string
	// Took says how long it took; empty if unknown.
	Took string
	// Marks are words such as "repeat".
	Marks []string
}

// timeline returns what happened to a job, oldest first.
func timeline(detail JobDetail, files []store.Media) []moment {
	list := slices.Concat(eventMoments(detail), fileMoments(detail, files), notificationMoments(detail.Notifications), attemptMoments(detail), lookupMoments(detail.Lookups))
	slices.SortStableFunc(list, func(a, b moment) int { return a.At.Compare(b.At) })
	return list
}

// outcomes describe look-ups.
var outcomes = map[string]moment{
	"found":   {State: "ok", Title: "Look-up: Kling answered"},
	"unknown": {State: "late", Title: "Look-up: Kling does not know this job"},
	"unclear": {State: "late", Title: "Look-up: no usable answer from Kling"},
	"failed":  {State: "retry", Title: "Look-up failed"},
}

func lookupMoments(lookups Lookups) (list []moment) {
	if at := lookups.TrackedAt; !at.IsZero() {
		list = append(list, moment{At: at, State: "created", Title: "A program tracked the job"})
	}
	for _, answer := range lookups.Answers {
		m := outcomes[answer.Outcome]
		m.At, m.Text, m.Took = answer.At, answer.Error, tookSeconds(answer.DurationSeconds)
		list = append(list, m)
	}
	if at := lookups.RequestedAt; !at.IsZero() {
		list = append(list, moment{At: at, State: "pending", Title: "Look-up requested"})
	}
	return list
}

func eventMoments(detail JobDetail) (list []moment) {
	for _, event := range slices.Backward(detail.Events) {
		m := moment{At: event.ReceivedAt, State: "ok", Title: "Delivery " + event.Type + " (" + sourceName(event.Source) + ")"}
		if event.Source == tasks.SourceLookup {
			m.Title = "Look-up: Kling says " + strings.TrimPrefix(event.Type, "video.")
			if event.Type == tasks.TypeLost {
				m.Title, m.State = "Kling does not know this job; it counts as lost", "lost"
			}
		}
		if event.ProcessedAt.IsZero() {
			m.State, m.Marks = "pending", append(m.Marks, "not recorded yet")
		} else {
			m.Took = "recorded in " + took(event.ProcessedAt.Sub(event.ReceivedAt))
		}
		for word, is := range map[string]bool{"repeat": event.Repeat, "late": event.Late, "test callback": event.TestCallback} {
			if is {
				m.State, m.Marks = "late", append(m.Marks, word)
			}
		}
		slices.Sort(m.Marks)
		list = append(list, m)
		for _, at := range event.RepeatedAt {
			list = append(list, moment{At: at, State: "late", Title: m.Title, Marks: []string{"repeat"}})
		}
	}
	return list
}

func fileMoments(detail JobDetail, files []store.Media) (list []moment) {
	for _, file := range files {
		buried := slices.ContainsFunc(detail.DeadLetters, func(letter DeadLetter) bool { return workOf(letter.TaskID) == "download "+file.Name })
		recorded := slices.ContainsFunc(detail.Attempts, func(attempt TaskAttempt) bool {
			return attempt.Error == "" && workOf(attempt.TaskID) == "download "+file.Name
		})
		if !file.StoredAt.IsZero() && !recorded {
			list = append(list, moment{At: file.StoredAt, State: "stored", Title: "Stored " + file.Name + ", " + size(file.Size), Took: took(file.StoredAt.Sub(file.CreatedAt)) + " after its link"})
		}
		switch {
		case file.State == store.MediaPending:
			list = append(list, moment{At: file.UpdatedAt, State: "pending", Title: "Waiting to download " + file.Name, Text: withoutLinkSecrets(file.Error)})
		case file.State == store.MediaDeleted:
			list = append(list, moment{At: file.UpdatedAt, State: "deleted", Title: "Deleted " + file.Name + " because of its age"})
		case file.State == store.MediaFailed && !buried:
			list = append(list, moment{At: file.UpdatedAt, State: "failed", Title: "Gave up on a link to " + file.Name, Text: withoutLinkSecrets(file.Error)})
		}
	}
	return list
}

func notificationMoments(notifications []Notification) (list []moment) {
	for _, n := range notifications {
		what := "Notification " + n.Type + " to " + n.Destination
		for _, attempt := range n.Attempts {
			m := moment{At: ended(attempt.At, attempt.DurationSeconds), State: "sent", Title: what, Text: withAnswer(attempt.Error, attempt.Answer), Took: tookSeconds(attempt.DurationSeconds)}
			if attempt.Error != "" {
				m.State, m.Title = "failed", m.Title+" failed"
			}
			if attempt.Status != 0 {
				m.Title += fmt.Sprintf(": %d", attempt.Status)
			}
			list = append(list, m)
		}
		switch {
		case n.State == string(store.NotificationPending):
			list = append(list, moment{At: n.CreatedAt, State: "pending", Title: what + " waits"})
		case n.State == string(store.NotificationSent) && len(n.Attempts) == 0:
			list = append(list, moment{At: n.SentAt, State: "sent", Title: what, Took: took(n.SentAt.Sub(n.CreatedAt)) + " after its event"})
		}
	}
	return list
}

// withAnswer returns an error with the answer of the server, unless it has it.
func withAnswer(failed, answer string) string {
	if failed == "" || answer == "" || strings.Contains(failed, answer) {
		return cmp.Or(failed, answer)
	}
	return failed + ": " + answer
}

// attemptMoments returns attempts and dead letters. Attempts to notify are in the
// notifications.
func attemptMoments(detail JobDetail) (list []moment) {
	for _, attempt := range detail.Attempts {
		work := workOf(attempt.TaskID)
		switch {
		case strings.HasPrefix(attempt.TaskID, string(tasks.KindNotifySend)+":"):
		case attempt.Error == "":
			list = append(list, moment{At: ended(attempt.At, attempt.DurationSeconds), State: "stored", Title: "Stored " + strings.TrimPrefix(work, "download ") + ", " + size(attempt.Size), Took: tookSeconds(attempt.DurationSeconds)})
		default:
			list = append(list, failedMoment(work, store.Failure{Attempt: attempt.Attempt, At: attempt.At, DurationSeconds: attempt.DurationSeconds, Error: attempt.Error}))
		}
	}
	for _, letter := range detail.DeadLetters {
		m := moment{At: letter.FailedAt, State: "failed", Title: "Gave up: " + workOf(letter.TaskID), Text: letter.Error}
		for i, failure := range letter.Failures {
			if i == len(letter.Failures)-1 && failure.Error == letter.Error {
				m.Took = tookSeconds(failure.DurationSeconds)
			} else if letter.Kind != string(tasks.KindNotifySend) {
				list = append(list, failedMoment(workOf(letter.TaskID), failure))
			}
		}
		if letter.State != string(store.DeadLetterDead) {
			m.Marks = []string{letter.State}
			list = append(list, moment{At: letter.EndedAt, State: letter.State, Title: "Failure " + letter.State + ": " + workOf(letter.TaskID)})
		}
		list = append(list, m)
	}
	return list
}

// failedMoment describes a failed attempt to do some work.
func failedMoment(work string, failure store.Failure) moment {
	return moment{At: failure.EndedAt(), State: "retry", Title: fmt.Sprintf("Attempt %d to %s failed", failure.Attempt, work), Text: failure.Error, Took: tookSeconds(failure.DurationSeconds)}
}

// ended returns the end of what began at a time.
func ended(at time.Time, seconds float64) time.Time {
	return store.Failure{At: at, DurationSeconds: seconds}.EndedAt()
}

// tookSeconds returns a duration as text; empty if it is unknown.
func tookSeconds(n float64) string {
	if n == 0 {
		return ""
	}
	return "took " + took(time.Duration(n*float64(time.Second)))
}

// workOf says what a task does.
func workOf(taskID string) string {
	parts := strings.Split(tasks.WorkID(taskID), ":")
	switch kind := tasks.Kind(strings.Join(parts[:min(2, len(parts))], ":")); {
	case kind == tasks.KindMediaDownload && len(parts) == 5:
		return "download " + parts[3]
	case kind == tasks.KindMediaFind:
		return "find a missing file"
	case kind == tasks.KindNotifySend:
		return "send a notification"
	case kind == tasks.KindEventRecord:
		return "record an event"
	}
	return "do a task"
}
