"""How this app is released: `doit list` shows the procedure, `doit release` runs it."""

from fearless.graph import Runbook

runbook = Runbook(__file__)
DOIT_CONFIG = runbook.doit_config


def task_tag():
    """Tag the commit in git"""
    return runbook.step("tag")


def task_image():
    """Build the container image"""
    return runbook.step("image", after="tag")


def task_ami():
    """Bake the machine image, with the container image inside"""
    return runbook.step("ami", after="image")


def task_stack():
    """Create the stack: network, load balancer, instances, permissions, tables"""
    return runbook.step("stack", after="ami")


def task_copy():
    """Copy production's data into the stack, migrating it on the way"""
    return runbook.step("copy", after="stack")


def task_sync():
    """Apply what production changed since the copy, with the same migrations"""
    return runbook.step("sync", after="copy")


def task_gate():
    """Test, test, test"""
    yield from runbook.gates(after="sync")


def task_cutover():
    """Update DNS: the stack goes live"""
    return runbook.step("cutover", after="gate")


def task_retire():
    """Delete the old stack"""
    return runbook.step("retire")


def task_release():
    """All of the above, in order"""
    return runbook.release_task()


def task_devstack():
    """Give a branch a stack of its own, or swap its container: branch=NAME"""
    yield from runbook.devstack()


def task_drop():
    """Delete a branch's stack, or a candidate that is not wanted: branch=NAME or sha=SHA"""
    return runbook.drop()


def task_rollback():
    """Go back to the stack that was live before, with everything written since"""
    return runbook.rollback()


def task_plan():
    """Show what a release would do, and try its migrations on a sample"""
    return runbook.plan()


def task_quarantine():
    """Show what could not be migrated; leave an item out: waive=ITEM reason=WHY"""
    return runbook.quarantine()


def task_status():
    """Show what is live, the candidates, the way back, and who holds the lock"""
    return runbook.status()


def task_releases():
    """Show every release there was"""
    return runbook.releases()


def task_images():
    """Show every container image, and what uses it"""
    return runbook.images()


def task_image_reap():
    """Delete images that nothing uses: shows which, yes=1 does it; keep=N days=N"""
    return runbook.image_reap()


def task_plugins():
    """Show the plugins, and run what tasks they add"""
    yield from runbook.plugin_tasks()
