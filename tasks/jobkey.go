package tasks

import "cmp"

// PlatformKling is Kling itself, the platform of all webhook protocols so far.
const PlatformKling = "kling"

// JobKey identifies a job: two platforms may give the same id to different jobs.
type JobKey struct {
	// Platform is where the job runs, such as [PlatformKling].
	Platform string `json:"platform,omitempty"`
	// ID is the platform's id of the job; empty if there is no job.
	ID string `json:"job_id,omitempty"`
}

// KlingJob returns the key of a job at Kling.
func KlingJob(id string) JobKey { return JobKey{PlatformKling, id} }

// String returns the job's name for logs and error texts: the id of a job at Kling, and
// "<platform>/<id>" for any other.
func (k JobKey) String() string {
	if k.ID == "" || cmp.Or(k.Platform, PlatformKling) == PlatformKling {
		return k.ID
	}
	return k.Platform + "/" + k.ID
}

// SafeID returns the job's part of a task id: the [SafeID] of a job at Kling, and
// "<platform>=<id>" for any other. No SafeID contains "=", so jobs do not share a name.
func (k JobKey) SafeID() string {
	if k.Platform == PlatformKling {
		return SafeID(k.ID)
	}
	return SafeID(k.Platform) + "=" + SafeID(k.ID)
}

// Compare orders jobs by platform and id. All transactions lock jobs in this order.
func (k JobKey) Compare(o JobKey) int {
	return cmp.Or(cmp.Compare(k.Platform, o.Platform), cmp.Compare(k.ID, o.ID))
}
