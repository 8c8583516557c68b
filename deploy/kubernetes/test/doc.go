// Package kubernetes has no code: its tests hold the manifests of deploy/kubernetes
// against Kubernetes' and KEDA's own types, and against what they promise. It is a
// module of its own, so that what they need stays out of klinghook's.
package kubernetes
