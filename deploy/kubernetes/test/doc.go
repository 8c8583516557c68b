// Package kubernetes tests the manifests of deploy/kubernetes. It is a separate module, so
// that klinghook does not depend on Kubernetes' and KEDA's types.
package kubernetes
