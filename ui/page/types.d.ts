// The shapes that the page's modules share. Only the type check reads this file.

/** A panel of dashboard.json; the Go type Panel documents the fields. */
export interface Panel {
  name: string;
  kind: "timeseries" | "stat";
  query: string;
  unit: Unit;
  legend: string;
  description: string;
  empty?: string;
  color?: number;
  thresholds?: Threshold[];
}

/** number is of an expression that nobody described. */
export type Unit = "short" | "bytes" | "percent" | "reqps" | "number";

export interface Threshold {
  value: number;
  severity: "warning" | "critical";
}

export interface Board {
  title: string;
  refresh: string;
  range: string;
  panels: Panel[];
}

/** What the server said about itself in the index. */
export interface Config {
  version: string;
  demo: boolean;
  dashboard: string;
  licenses: string;
}

/** A view beside the dashboard. */
export type View = (props: {
  client: import("./api.js").Client;
  store: import("./store.js").Store;
  theme: import("../third_party/signals.js").Signal<import("./theme.js").Theme>;
}) => import("../third_party/preact.js").VNode;

/** The time that is shown: the last so many seconds, or from one Unix second to another. */
export type Range = { last: string; seconds: number } | { from: number; to: number };

/** Evaluation times of a range query, in Unix seconds; start and end are multiples of step. */
export interface Grid {
  start: number;
  end: number;
  step: number;
}

export type Labels = Record<string, string>;

/** One element of a range query's answer, as Prometheus sends it. */
export interface MatrixSeries {
  metric: Labels;
  values?: [number, string][];
}

/** One element of an instant query's answer. */
export interface VectorSample {
  metric: Labels;
  value?: [number, string];
}

/** One line of a chart. */
export interface Series {
  key: string;
  label: string;
  title: string;
  values: (number | null)[];
  last: number | null;
}

/** What a panel draws. */
export interface Frame {
  grid: Grid;
  times: number[];
  series: Series[];
  /** Series that the answer held beyond those that are drawn. */
  hidden: number;
}

/** A number of a stat panel. */
export interface Stat {
  label: string;
  title: string;
  value: number | null;
}

export interface PanelState {
  state: "loading" | "ready" | "empty" | "error";
  frame: Frame | null;
  stats: Stat[];
  /** Why the newest answer is missing; null when it is not. */
  error: string | null;
  /** What is shown is older than the last attempt to renew it. */
  stale: boolean;
}

export interface Rule {
  name: string;
  type: string;
  state: "inactive" | "pending" | "firing" | "unknown";
  query: string;
  duration: number;
  labels?: Labels;
  annotations?: Labels;
  alerts?: Alert[];
  health: string;
  lastError?: string;
}

export interface Alert {
  labels: Labels;
  annotations: Labels;
  state: "pending" | "firing" | "inactive";
  activeAt?: string;
  value: string;
}

/** An alert as Alertmanager's API tells it. */
export interface ManagerAlert {
  labels: Labels;
  annotations?: Labels;
  fingerprint: string;
  startsAt?: string;
  receivers?: { name: string }[];
  status: { state: "active" | "suppressed" | "unprocessed"; silencedBy?: string[]; inhibitedBy?: string[]; mutedBy?: string[] };
}

/** An active alert of a rule that Alertmanager has with other labels (sent), or not at all (dropped). */
export interface OutgoingAlert {
  labels: Labels;
  sent?: Labels;
  dropped?: boolean;
}

export interface Matcher {
  name: string;
  value: string;
  isRegex: boolean;
  isEqual?: boolean;
}

export interface Silence {
  id: string;
  matchers: Matcher[];
  startsAt: string;
  endsAt: string;
  createdBy: string;
  comment: string;
  status: { state: "active" | "pending" | "expired" };
}

/** What a link of Alertmanager's own page asks for. */
export interface Link {
  kind: "alerts" | "new" | "silence";
  /** Matchers as text. */
  filter: string;
  receiver: string;
  comment: string;
  /** Of a silence. */
  id: string;
}

/** One try to notify a receiver, as the delivery ledger keeps it. */
export interface Attempt {
  time: string;
  receiver: string;
  integration: string;
  alerts?: { labels?: Labels; status?: string }[];
  alerts_total?: number;
  outcome: "ok" | "failed";
  status_code?: number;
  error?: string;
  /** It is tried again. */
  retry?: boolean;
  test?: boolean;
}

/** What stands in the list of alerts: a rule at rest, or one of its alerts, or an alert without a rule here. */
export interface AlertRow {
  key: string;
  name: string;
  severity: string;
  /** unknown: the rule was not evaluated yet. */
  state: "inactive" | "pending" | "firing" | "error" | "silenced" | "inhibited" | "muted" | "unknown";
  value: number | null;
  /** Unix milliseconds. */
  since: number | null;
  text: string;
  detail: string;
  /** Those with which the alert is sent. A rule at rest has none. */
  labels: Labels;
  /** Relabeling keeps it from being sent, so it cannot be silenced. */
  dropped?: boolean;
  /** Address of the runbook, or empty. */
  runbook: string;
  /** Why nobody is told of it: until when and why it is silenced, what inhibits it, or which time mutes it. */
  quiet: string;
  /** Of the alert as Alertmanager has it; empty when Alertmanager does not have it. */
  fingerprint: string;
  /** Names of the receivers that its routes lead to. */
  receivers: string[];
}

export interface AlertsState {
  /** error: neither the rules nor Alertmanager could be read. */
  state: "loading" | "ready" | "error";
  rows: AlertRow[];
  /** Why the rules could not be read. */
  error: string | null;
  heartbeat: "none" | "fires" | "missing";
  /** What Alertmanager last said; null when it was not asked yet. */
  manager: { alerts: ManagerAlert[]; silences: Silence[]; outgoing?: OutgoingAlert[] } | null;
  managerError: string | null;
  /** What the ledger last said; failing are the receivers whose last attempt failed. */
  told: { attempts: Attempt[]; notifies: boolean; failing: Attempt[] } | null;
  toldError: string | null;
}

export interface Check {
  status: string;
  latency_ms?: number;
  detail?: string;
}

export interface HealthState {
  status: "loading" | "ok" | "degraded" | "error" | "unknown";
  checks: [string, Check][];
  error: string | null;
}

export interface Outage {
  /** Unix milliseconds. */
  since: number;
  message: string;
}
