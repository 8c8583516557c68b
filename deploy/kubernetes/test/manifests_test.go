package kubernetes

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// manifests are the objects of one kustomization, in the types of Kubernetes and KEDA.
type manifests []runtime.Object

// decode reads objects. Unknown kinds, and unknown or repeated fields, are errors.
func decode(t *testing.T, docs ...string) (m manifests) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, autoscalingv2.AddToScheme,
		policyv1.AddToScheme, networkingv1.AddToScheme, kedav1alpha1.AddToScheme,
	} {
		noError(t, add(scheme))
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	for _, doc := range docs {
		o, _, err := decoder.Decode([]byte(doc), nil, nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		m = append(m, o)
	}
	return m
}

func build(t *testing.T, root string) manifests {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), root)
	noError(t, err)
	var docs []string
	for _, r := range built.Resources() {
		doc, err := r.AsYAML()
		noError(t, err)
		docs = append(docs, string(doc))
	}
	return decode(t, docs...)
}

// onEach runs a test on each kustomization that people apply.
func onEach(t *testing.T, f func(t *testing.T, m manifests)) {
	t.Helper()
	overlays, err := filepath.Glob("../overlays/*")
	if err != nil || len(overlays) < 3 {
		t.Fatalf("the overlays are %q, %v", overlays, err)
	}
	for _, root := range append(overlays, "../base") {
		t.Run(filepath.Base(root), func(t *testing.T) { f(t, build(t, root)) })
	}
}

// of returns the objects of one type.
func of[T metav1.Object](m manifests) (list []T) {
	for _, o := range m {
		if typed, ok := o.(T); ok {
			list = append(list, typed)
		}
	}
	return list
}

// named returns the object of a type and a name.
func named[T metav1.Object](t *testing.T, m manifests, name string) T {
	t.Helper()
	for _, o := range of[T](m) {
		if o.GetName() == name {
			return o
		}
	}
	var none T
	t.Fatalf("no %T named %s", none, name)
	return none
}

// workload is an object that creates pods.
type workload struct {
	kind, name string
	selector   *metav1.LabelSelector
	pod        corev1.PodTemplateSpec
	claims     []corev1.PersistentVolumeClaim
	replicas   *int32 // nil with an autoscaler
}

// component is the process in the pods.
func (w workload) component() string { return w.pod.Labels["app.kubernetes.io/component"] }

func (w workload) container() corev1.Container { return w.pod.Spec.Containers[0] }

func (w workload) String() string { return w.kind + " " + w.name }

// port returns the container's port of a name; 0 if there is none.
func (w workload) port(name string) int32 {
	for _, p := range w.container().Ports {
		if p.Name == name {
			return p.ContainerPort
		}
	}
	return 0
}

func workloads(m manifests) (list []workload) {
	for _, d := range of[*appsv1.Deployment](m) {
		list = append(list, workload{"Deployment", d.Name, d.Spec.Selector, d.Spec.Template, nil, d.Spec.Replicas})
	}
	for _, s := range of[*appsv1.StatefulSet](m) {
		list = append(list, workload{"StatefulSet", s.Name, s.Spec.Selector, s.Spec.Template, s.Spec.VolumeClaimTemplates, s.Spec.Replicas})
	}
	return list
}

// selected returns the workloads whose pods a selector selects.
func selected(t *testing.T, m manifests, selector *metav1.LabelSelector) (list []workload) {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	noError(t, err)
	for _, w := range workloads(m) {
		if s.Matches(labels.Set(w.pod.Labels)) {
			list = append(list, w)
		}
	}
	return list
}

// environment returns a container's environment; values in Secrets are the example's.
func environment(t *testing.T, m manifests, c corev1.Container) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, from := range c.EnvFrom {
		var values map[string]string
		if from.ConfigMapRef != nil {
			values = named[*corev1.ConfigMap](t, m, from.ConfigMapRef.Name).Data
		} else {
			values = exampleSecret(t, from.SecretRef.Name)
		}
		for name, value := range values {
			if _, twice := env[name]; twice {
				t.Errorf("container %s gets %s twice", c.Name, name)
			}
			env[name] = value
		}
	}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	return env
}

func exampleSecret(t *testing.T, name string) map[string]string {
	t.Helper()
	return named[*corev1.Secret](t, decode(t, strings.Split(read(t, "../secrets.example.yaml"), "\n---\n")...), name).StringData
}

// text formats a value with what its pointers point to.
func text(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	noError(t, err)
	return string(content)
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
