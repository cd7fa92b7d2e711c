{{- define "crew.name" -}}
{{- printf "%s" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "crew.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "crew.labels" -}}
app.kubernetes.io/name: clean-up-crew
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "crew.selector" -}}
app.kubernetes.io/name: clean-up-crew
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{/* A pod of one of the parts. root, part, command (a list), and probes, ports, storage where it has some. */}}
{{- define "crew.pod" -}}
metadata:
  labels:
    {{- include "crew.selector" . | nindent 4 }}
  annotations:
    checksum/config: {{ include (print .root.Template.BasePath "/config.yaml") .root | sha256sum }}
spec:
  serviceAccountName: {{ include "crew.name" .root }}
  automountServiceAccountToken: {{ .launches | default false }}
  terminationGracePeriodSeconds: {{ .grace | default 30 }}
  securityContext:
    {{- toYaml .root.Values.podSecurityContext | nindent 4 }}
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .part }}
      image: {{ include "crew.image" .root }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      command:
        {{- toYaml .command | nindent 8 }}
      envFrom:
        - configMapRef:
            name: {{ include "crew.name" .root }}-settings
        - secretRef:
            name: {{ .root.Values.secrets.application }}
      {{- with .port }}
      ports:
        - name: main
          containerPort: {{ . }}
      {{- end }}
      {{- with .probes }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
      resources:
        {{- toYaml (index .root.Values .part).resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - name: home
          mountPath: /srv/crew
        - name: temporary
          mountPath: /tmp
        - name: dagster
          mountPath: /srv/dagster
        - name: config
          mountPath: /srv/dagster/dagster.yaml
          subPath: dagster.yaml
        - name: config
          mountPath: /etc/crew/workspace.yaml
          subPath: workspace.yaml
  volumes:
    - name: home
      emptyDir: {}
    - name: temporary
      emptyDir: {}
    - name: dagster
      emptyDir: {}
    - name: config
      configMap:
        name: {{ include "crew.name" .root }}-dagster
{{- end -}}
