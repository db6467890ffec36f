import sys; sys.path.insert(0,'/work/main/tests/lifecycle')
import time, pytest
from test_torn import *
import alluxio_lance.storage.torn as t
@pytest.mark.parametrize("wait",[False,True])
def test_arr(manager, store, cut, wait, monkeypatch):
    if not wait: monkeypatch.setattr(t,"_settled",lambda p,l,q,s:s)
    cut(TABLE, manifest(3), content(store, manifest(2)), 300, slowly=4.0); t0=time.time()
    print("update"); manager.update_resource("datasets","a",rows(3)); print("took",time.time()-t0)
    time.sleep(max(0,7-(time.time()-t0)))
    st=store._place._cache.statuses(TABLE).get(manifest(3)); print(wait, st and st.length, content(store,manifest(3))[-4:])
    try: print(store.latest(TABLE))
    except Exception as e: print("LOST", e)
    from pathlib import Path
    print(Path(st.under_path).stat().st_size, [x.name for x in Path(st.under_path).parent.iterdir()])
