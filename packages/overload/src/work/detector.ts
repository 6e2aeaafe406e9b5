import type { Detector, Finding, Window } from '@fastify-vitals/metrics'
import type { WorkFigures } from './work-types.ts'

/** So much of a name's jobs refused or late is worse than a burst. */
const SERIOUS_RATIO = 0.1

/** Jobs and tasks that were not done, by name. */
export function workDetector(figures: () => WorkFigures, names: () => Iterable<string>): Detector {
  return {
    name: 'work_not_done',
    description: 'Jobs and tasks that were refused because the queue was full, or were late',
    inspect: (window) => [...names()].flatMap((name) => judge(name, figures(), window))
  }
}

function judge(name: string, { jobs, tasks, threads }: WorkFigures, window: Window): Finding[] {
  const count = (result: string): number => window.counter('work_jobs_total', { name, result })
  const [rejected, late, done] = [count('rejected'), count('deadline'), count('success')]
  const missed = rejected + late
  if (missed === 0) return []
  return [
    {
      type: 'work_not_done',
      severity: missed / (missed + done) > SERIOUS_RATIO ? 'high' : 'medium',
      cause: `of the jobs "${name}" ${rejected} found the queue full and ${late} were late`,
      evidence: {
        name,
        rejected,
        late,
        done,
        jobs_running: jobs.running,
        jobs_queued: jobs.queued,
        tasks_running: tasks.running,
        tasks_queued: tasks.queued,
        threads
      },
      recommendations: [
        rejected > late
          ? 'Submit less, or give the pool more places (maxConcurrent, threads.maxThreads) as long as the processor has room'
          : 'Look at work_queue_seconds and work_run_seconds: the wait or the job itself is longer than its deadline'
      ]
    }
  ]
}
