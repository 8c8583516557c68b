package kubernetes

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	yamlstream "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// object is any of the objects below.
type object interface{ metav1.Object }

// blank returns an empty object of a kind; nil for unexpected kinds.
func blank(apiVersion, kind string) object {
	return map[string]object{
		"v1 Namespace":                           &corev1.Namespace{},
		"v1 ConfigMap":                           &corev1.ConfigMap{},
		"v1 Secret":                              &corev1.Secret{},
		"v1 Service":                             &corev1.Service{},
		"v1 ServiceAccount":                      &corev1.ServiceAccount{},
		"apps/v1 Deployment":                     &appsv1.Deployment{},
		"apps/v1 StatefulSet":                    &appsv1.StatefulSet{},
		"batch/v1 Job":                           &batchv1.Job{},
		"autoscaling/v2 HorizontalPodAutoscaler": &autoscalingv2.HorizontalPodAutoscaler{},
		"policy/v1 PodDisruptionBudget":          &policyv1.PodDisruptionBudget{},
		"networking.k8s.io/v1 NetworkPolicy":     &networkingv1.NetworkPolicy{},
		"networking.k8s.io/v1 Ingress":           &networkingv1.Ingress{},
		"keda.sh/v1alpha1 ScaledObject":          &kedav1alpha1.ScaledObject{},
		"keda.sh/v1alpha1 TriggerAuthentication": &kedav1alpha1.TriggerAuthentication{},
	}[apiVersion+" "+kind]
}

// decode reads a stream of objects. Unknown and repeated fields are errors.
func decode(stream []byte) ([]object, error) {
	var objects []object
	docs := yamlstream.NewYAMLReader(bufio.NewReader(bytes.NewReader(stream)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		var typed metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &typed); err != nil {
			return nil, err
		}
		o := blank(typed.APIVersion, typed.Kind)
		if o == nil {
			return nil, fmt.Errorf("unexpected kind %s %s: add it to blank", typed.APIVersion, typed.Kind)
		}
		if err := yaml.UnmarshalStrict(doc, o); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", typed.Kind, err, doc)
		}
		objects = append(objects, o)
	}
}

// folder is where the manifests are.
const folder = ".."

// roots returns the kustomizations that people apply.
func roots(t *testing.T) []string {
	t.Helper()
	overlays, err := filepath.Glob(filepath.Join(folder, "overlays", "*"))
	if err != nil || len(overlays) < 3 {
		t.Fatalf("the overlays are %q, %v", overlays, err)
	}
	return append([]string{filepath.Join(folder, "base")}, overlays...)
}

// build returns the objects of a kustomization.
func build(t *testing.T, root string) manifests {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), root)
	noError(t, err)
	stream, err := built.AsYaml()
	noError(t, err)
	objects, err := decode(stream)
	if err != nil {
		t.Fatalf("%s: %v", root, err)
	}
	return manifests(objects)
}

// onEach runs a test on the objects of each kustomization.
func onEach(t *testing.T, f func(t *testing.T, m manifests)) {
	t.Helper()
	for _, root := range roots(t) {
		t.Run(filepath.Base(root), func(t *testing.T) { f(t, build(t, root)) })
	}
}

// exampleSecrets returns the example's Secrets by name.
func exampleSecrets(t *testing.T) map[string]*corev1.Secret {
	t.Helper()
	stream, err := os.ReadFile(filepath.Join(folder, "secrets.example.yaml"))
	noError(t, err)
	objects, err := decode(stream)
	noError(t, err)
	secrets := map[string]*corev1.Secret{}
	for _, s := range of[*corev1.Secret](manifests(objects)) {
		secrets[s.Name] = s
	}
	return secrets
}
