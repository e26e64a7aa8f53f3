#!/usr/bin/env python3
"""What novic mirrors and writes, seen by the official programs of Weights & Biases: run by hand, for they are large.

    python -m venv OFFICIAL && OFFICIAL/bin/pip install wandb
    OFFICIAL/bin/python tests/tools/wandb_official.py target/release/novic

1. A run that novic mirrors is read back by wandb.Api: state, names, configuration, summary, history, samples, files, console.
2. A directory that novic writes is uploaded by `wandb sync`; the server then has what the mirror sent.
3. Both for a run that goes on with an earlier one.
Ends with exit code 1 and the first difference.
"""
import glob, json, os, subprocess, sys, tempfile
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import wandb_server

KEY = 'a1b2c3d4' * 5
TABLE = {'columns': ['Model', 'Top-1'], 'data': [['a', 1.5], ['b', None]]}
HISTOGRAM = {'_type': 'histogram', 'bins': [0, 1, 2], 'values': [3, 4]}
DOT = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC'
ROWS = [{'loss': 1 / (n + 1), 'top1': 10.0 * n, 'grad': {'norm': 0.5}} for n in range(40)]

def part(rows, end):
    return [{'print': 'begun'}, *({'log': {'values': row}} for row in rows), {'print': 'a warning', 'stderr': True},
            {'stats': {'cpu': 12.5, 'gpu.0.memory': 40.0}}, {'summary': {'best': 3}}, {'config': {'late': True}}, *end]

def script(run, events, **settings):
    return {'settings': {'flush_interval': 0.2, 'finish_timeout': 30, **settings},
            'run': {'id': run, 'project': 'novic', 'entity': 'tester', 'name': 'a run', 'group': 'grp', 'job_type': 'train', 'tags': ['x', 'y'],
                    'notes': 'a note', 'config': {'action': 'train', 'lr': 0.001, 'model': {'layers': 6, 'dims': [512, 2048]}, 'none': None}},
            'events': events}

SCRIPTS = [part(ROWS[:30], [{'log': {'values': {'table': TABLE, 'bins': HISTOGRAM, 'none': None, 'text': 'x', 'not': 'NaN',
                                                 'dot': {'_type': 'image', 'png': DOT, 'width': 1, 'height': 1, 'caption': 'black'}}}},
                            {'file': {'path': 'notes.txt', 'text': 'an extra file\n'}}, {'print': 'x' * 40000}, {'exit': 3}]),
           part(ROWS[30:], [{'exit': 0}])]

def main(novic):
    server = wandb_server.Server().start()
    with tempfile.TemporaryDirectory() as folder:
        env = {k: v for k, v in os.environ.items() if not k.startswith(('WANDB', 'NOVIC'))}
        env |= {'WANDB_BASE_URL': server.url, 'WANDB_API_KEY': KEY, 'HOME': folder, 'WANDB_DIR': folder, 'WANDB_SILENT': 'true'}
        def call(*command, status=0):
            done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True)
            assert done.returncode == status, (command, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
            return done.stdout + done.stderr
        def replay(run, mode):
            for number, events in enumerate(SCRIPTS):
                path = os.path.join(folder, f'{run}-{number}.json')
                with open(path, 'w') as f:
                    json.dump(script(run, events, mode=mode), f)
                call(novic, 'replay', path, '--store', os.path.join(folder, f'store-{mode}'), status=[3, 0][number])
        replay('mirrored1', 'online')
        replay('official1', 'offline')
        logs = sorted(glob.glob(os.path.join(folder, '**', 'offline-run-*'), recursive=True))
        assert len(logs) == 2, logs
        for log in logs:
            call(os.path.join(os.path.dirname(sys.executable), 'wandb'), 'sync', log)
            assert glob.glob(os.path.join(log, '*.synced')), f'{log} was not taken'
        os.environ.update({k: env[k] for k in ('WANDB_BASE_URL', 'WANDB_API_KEY', 'HOME', 'WANDB_DIR', 'WANDB_SILENT')})
        import wandb
        api = wandb.Api()
        seen = {}
        for run in ('mirrored1', 'official1'):
            r = api.run(f'tester/novic/{run}')
            files = {f.name: f.size for f in r.files()}
            media = {os.path.dirname(n) for n in files if n.startswith('media/')}
            rows = [{k: v for k, v in row.items() if k not in ('_timestamp', '_runtime')} for row in r.scan_history()]
            keyed = list(r.scan_history(keys=['loss', 'top1']))
            log = r.file('output.log').download(root=os.path.join(folder, run), replace=True).read()
            state = server.state.dump()['runs'][f'tester/novic/{run}']
            seen[run] = {
                'state': r.state, 'name': r.name, 'group': r.group, 'job_type': r.job_type, 'tags': sorted(r.tags), 'notes': r.notes, 'config': dict(r.config),
                'summary': {k: r.summary.get(k) for k in ('loss', 'top1', 'best', 'grad', '_step')}, 'rows': rows, 'keyed': len(keyed),
                'samples': [{k: v for k, v in e.items() if k.startswith('system.')} for e in state['events']],
                'media': sorted(media), 'notes.txt': files.get('notes.txt'), 'lines': [l[:60] for l in log.splitlines()][-2:],
                'stream': len(state['log']), 'gaps': state['gaps'], 'host': bool(r.metadata['host']), 'args': r.metadata['args'][0],
                'table': TABLE if any(n.startswith('media/table/') for n in files) else None}
        listed = api.runs('tester/novic', filters={'$and': [{'config.lr': {'$lt': 0.01}}, {'state': 'finished'}]})
        assert sorted(r.id for r in listed) == ['mirrored1', 'official1'], [r.id for r in listed]
        a, b = json.loads(json.dumps([seen['mirrored1'], seen['official1']], default=dict))
        assert a['state'] == 'finished' and len(a['rows']) == 41 and a['keyed'] == 40, (a['state'], len(a['rows']), a['keyed'])
        assert [r['_step'] for r in a['rows']] == list(range(41)) and not a['gaps'], a['gaps']
        differences = [f'{k}: mirrored {json.dumps(a[k])[:400]}, by wandb sync {json.dumps(b[k])[:400]}' for k in a if a[k] != b[k]]
        assert not differences, '\n'.join(differences)
        print(f'wandb {wandb.__version__}: {len(a["rows"])} rows, {a["stream"]} lines, {len(a["samples"])} samples: the same by mirror and by wandb sync')
    server.stop()

if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(os.path.abspath(sys.argv[1]))
