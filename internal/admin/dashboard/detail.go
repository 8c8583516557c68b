package dashboard

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/klinghook/klinghook/internal/store"
	"github.com/klinghook/klinghook/tasks"
)

// maxDetail is the maximum number of events, and of dead letters, in a detail.
const maxDetail = 500

// ReadDetail returns everything known about a job, or store.ErrNotFound. Links keep their
// signatures.
func ReadDetail(ctx context.Context, db *store.Store, key tasks.JobKey) (JobDetail, error) {
	detail, _, err := readDetail(ctx, db, key)
	return detail, err
}

// readDetail also returns the events with their bodies, in the order of detail.Events.
func readDetail(ctx context.Context, db *store.Store, key tasks.JobKey) (detail JobDetail, events []store.StoredEvent, err error) {
	job, err := db.Job(ctx, key)
	if err != nil {
		return JobDetail{}, nil, err
	}
	detail = JobDetail{Job: NewJob(job), Media: []Media{}, Notifications: []Notification{}, Events: []Event{}}
	media, mediaErr := db.MediaOf(ctx, key)
	for _, file := range media {
		detail.Media = append(detail.Media, NewMedia(file))
	}
	detail.VideoMissing = videoMissing(job, media)
	events, eventsErr := db.Events(ctx, store.EventFilter{Job: key, Limit: maxDetail})
	detail.Events = append(detail.Events, markedEvents(events, job.TestCallback)...)
	state, stateErr := db.LookupStateOf(ctx, key)
	if errors.Is(stateErr, store.ErrNotFound) { // deleted meanwhile
		return JobDetail{}, nil, stateErr
	}
	answers, answersErr := db.AnswersOf(ctx, key)
	detail.Lookups = Lookups{state.API, state.TrackedAt, state.Asked, state.NextAt, state.RequestedAt, state.RetryAt, listed(answers, newLookupAnswer)}
	return detail, events, errors.Join(mediaErr, eventsErr, stateErr, answersErr, detail.addNotifications(ctx, db), detail.addAttempts(ctx, db))
}

// addNotifications adds the notifications with their attempts.
func (d *JobDetail) addNotifications(ctx context.Context, db *store.Store) error {
	notifications, err := db.NotificationsOf(ctx, d.Key())
	attempts, attemptsErr := db.AttemptsOf(ctx, d.Key())
	byID := map[string][]SendAttempt{}
	for _, attempt := range attempts {
		byID[attempt.NotificationID] = append(byID[attempt.NotificationID], NewSendAttempt(attempt))
	}
	for _, n := range notifications {
		d.Notifications = append(d.Notifications, Notification{n.ID, n.Type, n.Destination, string(n.State), n.Error, n.SentAt, n.CreatedAt, byID[n.ID]})
	}
	return errors.Join(err, attemptsErr)
}

// addAttempts adds the attempts and the dead letters.
func (d *JobDetail) addAttempts(ctx context.Context, db *store.Store) error {
	attempts, err := db.TaskAttemptsOf(ctx, d.Key())
	d.Attempts = listed(attempts, newTaskAttempt)
	letters, lettersErr := db.DeadLetters(ctx, store.DeadLetterFilter{Job: d.Key(), Ended: true, Limit: maxDetail})
	for _, letter := range letters {
		d.DeadLetters = append(d.DeadLetters, NewDeadLetter(letter))
	}
	return errors.Join(err, lettersErr)
}

// markedEvents returns a job's events, last received first, with repeats and late ones
// marked.
func markedEvents(events []store.StoredEvent, test bool) []Event {
	list := make([]Event, len(events))
	furthest := -1
	for i, event := range slices.Backward(events) {
		list[i] = NewEvent(event)
		list[i].TestCallback = test
		list[i].Repeat = slices.ContainsFunc(events[i+1:], func(earlier store.StoredEvent) bool {
			return earlier.Type == event.Type && bytes.Equal(earlier.Body, event.Body)
		})
		at := slices.Index(tasks.KnownTypes(), event.Type)
		list[i].Late = !list[i].Repeat && at >= 0 && at < min(furthest, slices.Index(tasks.KnownTypes(), tasks.TypeCompleted))
		furthest = max(furthest, at)
	}
	return list
}

// detail returns everything known about a job, for the API and the pages: without secrets,
// and with paths to the stored files. The events are as readDetail returns them.
func (d *dashboard) detail(ctx context.Context, key tasks.JobKey) (JobDetail, []store.StoredEvent, error) {
	detail, events, err := readDetail(ctx, d.cfg.Store, key)
	if err != nil {
		return JobDetail{}, nil, err
	}
	d.addRepeats(ctx, detail.Events)
	detail.Error = withoutLinkSecrets(detail.Error)
	for i := range detail.Media {
		detail.Media[i] = d.media(key, detail.Media[i])
	}
	for i := range detail.Notifications {
		n := &detail.Notifications[i]
		n.Error = withoutLinkSecrets(n.Error)
		for j := range n.Attempts {
			n.Attempts[j].Error, n.Attempts[j].Answer = withoutLinkSecrets(n.Attempts[j].Error), withoutLinkSecrets(n.Attempts[j].Answer)
		}
	}
	for i := range detail.Attempts {
		detail.Attempts[i].Error = withoutLinkSecrets(detail.Attempts[i].Error)
	}
	for i := range detail.Lookups.Answers {
		detail.Lookups.Answers[i].Error = withoutLinkSecrets(detail.Lookups.Answers[i].Error)
	}
	for i := range detail.DeadLetters {
		detail.DeadLetters[i] = detail.DeadLetters[i].withoutSecrets()
	}
	return detail, events, nil
}

// addRepeats adds the repeated deliveries, unless Redis is away: it may also have forgotten
// them.
func (d *dashboard) addRepeats(ctx context.Context, events []Event) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	repeats, err := tasks.RepeatsOf(ctx, d.cfg.Redis, listed(events, func(event Event) string { return event.ID }))
	if err != nil {
		d.cfg.Log.Debug("repeated deliveries not read", zap.Error(err))
		return
	}
	for i, event := range events {
		// asynq may run the task of one delivery twice.
		events[i].RepeatedAt = slices.DeleteFunc(repeats[event.ID], func(at time.Time) bool { return at.UnixMicro() == event.ReceivedAt.UnixMicro() })
	}
}

// media returns a file without secrets, and with the path to the stored file.
func (d *dashboard) media(job tasks.JobKey, file Media) Media {
	file.URL, file.Error = withoutLinkSecrets(file.URL), withoutLinkSecrets(file.Error)
	if file.Object != "" {
		file.DownloadURL = d.mediaPath(job, file.Name)
	}
	return file
}

// mediaPath returns the path that serves a stored file.
func (d *dashboard) mediaPath(job tasks.JobKey, name string) string {
	return d.cfg.Prefix + APIPath + jobPath(job, "/media/"+url.PathEscape(name))
}

// withoutSecrets returns the dead letter without the secrets in links.
func (l DeadLetter) withoutSecrets() DeadLetter {
	l.Error = withoutLinkSecrets(l.Error)
	l.Failures = slices.Clone(l.Failures)
	for i := range l.Failures {
		l.Failures[i].Error = withoutLinkSecrets(l.Failures[i].Error)
	}
	return l
}
