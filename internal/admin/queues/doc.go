// Package queues serves asynq's web pages for looking into the queue and running
// failed tasks again, with the protection that they lack:
//
//   - a request that changes something must come from the pages themselves;
//   - they answer to the names of this machine, and others that are known to be
//     theirs, so that no name that somebody else has made resolve to it counts;
//   - they ask nothing of the internet, run no scripts but their own, and stand
//     in no other page's frame;
//   - what they show of a task has the queries of links, where tokens and
//     signatures stand, and the signatures of deliveries cut off.
//
// The pages have no login of their own: whoever reaches them can delete every task,
// unless they are read-only. They belong on a loopback address or behind package
// login. What asynqmon asks Prometheus for are metrics that klinghook does not have;
// that page is hidden, for want of an address. The errors of tasks are shown as they are;
// whoever makes one keeps links' queries out of it.
package queues
