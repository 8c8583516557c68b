// Package kubernetes tests the manifests of deploy/kubernetes. It is a module of its own,
// so that klinghook does not depend on Kubernetes' and KEDA's types.
package kubernetes
