{{- define "portreeve.labels" -}}
app.kubernetes.io/name: portreeve
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "portreeve.selector" -}}
app.kubernetes.io/name: portreeve
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "portreeve.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* Namespaces that are never denied, as a JSON list. The daemon's configuration and the webhook share it. */ -}}
{{- define "portreeve.exempt" -}}
{{- concat (list "kube-system" .Release.Namespace) .Values.admission.exemptNamespaces | uniq | toJson -}}
{{- end }}

{{- /* Patterns of the namespaces in enforce mode, as a JSON list. */ -}}
{{- define "portreeve.enforced" -}}
{{- $globs := list -}}
{{- range .Values.admission.namespaces -}}
{{- if eq .mode "enforce" -}}{{- $globs = concat $globs .match -}}{{- end -}}
{{- end -}}
{{- $globs | uniq | toJson -}}
{{- end }}

{{- /* Whether the daemon makes the webhook's certificate; empty when not. */ -}}
{{- define "portreeve.managesCertificate" -}}
{{- if and .Values.admission.enabled (not .Values.webhook.tls.existingSecret) -}}true{{- end -}}
{{- end }}

{{- /* A CEL condition: the namespace matches one of these patterns. The schema allows no sign in a pattern that a
       regular expression would read in its own way, but `*`. */ -}}
{{- define "portreeve.inNamespaces" -}}
{{- if . -}}
request.namespace.matches('^({{ join "|" . | replace "*" ".*" }})$')
{{- else -}}
false
{{- end -}}
{{- end }}

{{- /* CEL: requests that the entry `enforce` sees, but for the break-glass group. */ -}}
{{- define "portreeve.isEnforced" -}}
{{ include "portreeve.inNamespaces" (include "portreeve.enforced" . | fromJsonArray) }} && !{{ include "portreeve.inNamespaces" (include "portreeve.exempt" . | fromJsonArray) }}
{{- end }}

{{- /* CEL: the user is in the break-glass group. */ -}}
{{- define "portreeve.isBreakGlass" -}}
has(request.userInfo.groups) && '{{ .Values.admission.breakGlassGroup }}' in request.userInfo.groups
{{- end }}

{{- /* The workload kinds whose images and posture are judged. */ -}}
{{- define "portreeve.workloadRules" -}}
- {apiGroups: [""], apiVersions: [v1], resources: [pods, replicationcontrollers], operations: [CREATE, UPDATE], scope: Namespaced}
- {apiGroups: [""], apiVersions: [v1], resources: [pods/ephemeralcontainers], operations: [UPDATE], scope: Namespaced}
- {apiGroups: [apps], apiVersions: [v1], resources: [deployments, replicasets, statefulsets, daemonsets], operations: [CREATE, UPDATE], scope: Namespaced}
- {apiGroups: [batch], apiVersions: [v1], resources: [jobs, cronjobs], operations: [CREATE, UPDATE], scope: Namespaced}
{{- end }}

{{- define "portreeve.podRules" -}}
- {apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE, UPDATE], scope: Namespaced}
- {apiGroups: [""], apiVersions: [v1], resources: [pods/ephemeralcontainers], operations: [UPDATE], scope: Namespaced}
{{- end }}

{{- /* An entry of a webhook configuration: dict root name failurePolicy path rules caBundle conditions. */ -}}
{{- define "portreeve.entry" -}}
name: {{ .name }}.portreeve.dev
admissionReviewVersions: [v1]
clientConfig:
  {{- with .caBundle }}
  caBundle: {{ . }}
  {{- end }}
  service: {name: portreeve, namespace: {{ .root.Release.Namespace }}, path: {{ .path }}, port: 443}
failurePolicy: {{ .failurePolicy }}
matchPolicy: Equivalent
sideEffects: NoneOnDryRun
timeoutSeconds: 10
rules:
  {{- .rules | nindent 2 }}
matchConditions:
  {{- range $name, $expression := .conditions }}
  - name: {{ $name }}
    expression: {{ $expression | quote }}
  {{- end }}
{{- if eq .failurePolicy "Fail" }}
# The conditions leave these out, too. A mistake in one of the two still blocks neither the cluster nor ourselves.
namespaceSelector:
  matchExpressions:
    - key: kubernetes.io/metadata.name
      operator: NotIn
      values: [kube-system, {{ .root.Release.Namespace }}]
{{- end }}
{{- end }}

{{- /* A cron schedule that the daemon takes: dict key value. A pattern of the schema could not say what is wrong. */ -}}
{{- define "portreeve.cron" -}}
{{- $minute := "(\\*|[0-5]?[0-9](-[0-5]?[0-9])?)(/[0-9]+)?" -}}
{{- $hour := "(\\*|(2[0-3]|[01]?[0-9])(-(2[0-3]|[01]?[0-9]))?)(/[0-9]+)?" -}}
{{- $minutes := printf "%s(,%s)*" $minute $minute -}}
{{- $hours := printf "%s(,%s)*" $hour $hour -}}
{{- if not (regexMatch (printf "^(%s +)?%s +%s( +[0-9A-Za-z*?#/,-]+){3}$" $minutes $minutes $hours) .value) -}}
{{- fail (printf "%s: '%s' is no cron schedule; it has five fields: minute (0-59), hour (0-23), day of the month, month, day of the week; or six, with seconds before them" .key .value) -}}
{{- end -}}
{{- .value -}}
{{- end }}
